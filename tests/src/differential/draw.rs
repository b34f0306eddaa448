//! Draws lists of operations.
//!
//! Invariants: a seed draws the same list for ever. Names are few, so that operations meet.

use std::time::Duration;

use longhaul_core::backend::{ArrivalKind, PAGE_MAX, RunFilter, Serves, StartRun};
use longhaul_core::id::BuildId;
use longhaul_core::identity::RunKind;
use longhaul_core::status::Status;

use super::action::{Action, Fate, TurnPlan, Wrong};
use super::names::{BUILDS, KEYS, OPERATIONS, QUEUES, ROUTES, RUNS, TASKS};
use crate::chance::Chance;
use crate::world::{
    LEASE, SECOND, operation_of, queue, route, run_of, task, workflow_id, workflow_type,
};

/// Is how many workers there are at a time.
pub(super) const WORKERS: usize = 4;

/// Is a time ahead in seconds that no list comes to.
const FAR: i64 = 1_000_000_000_000;

/// Draws a list; its first operations join two workers.
pub(super) fn draw(seed: u64, length: usize) -> Vec<Action> {
    let mut drawing = Drawing(Chance::of_seed(seed));
    let join = |worker| Action::Join {
        worker,
        is_new: true,
    };
    let mut list: Vec<_> = [0, 1].map(join).to_vec();
    while list.len() < length {
        list.push(drawing.action());
    }
    list
}

struct Drawing(Chance);

impl Drawing {
    fn worker(&mut self) -> usize {
        // The first two are asked more often, so that they live longer and come to own more.
        match self.0.below(10) {
            0..6 => self.0.below(2),
            _ => self.0.below(WORKERS),
        }
    }

    fn run(&mut self) -> usize {
        self.0.below(RUNS.len())
    }

    fn maybe<T>(&mut self, percent: usize, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.happens(percent).then(|| draw(self))
    }

    fn several<T>(&mut self, most: usize, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let is_empty = self.0.happens(2);
        let count = if is_empty { 0 } else { 1 + self.0.below(most) };
        (0..count).map(|_| draw(self)).collect()
    }

    fn action(&mut self) -> Action {
        let worker = self.worker();
        match self.0.below(1_000) {
            0..50 => Action::Join {
                worker,
                is_new: self.0.happens(60),
            },
            50..130 => Action::Beat {
                worker,
                extend: self.maybe(60, |drawing| {
                    *drawing.0.pick(&[LEASE, LEASE, LEASE, LEASE * 2, LEASE / 2])
                }),
                serves: self.serves(),
            },
            130..138 => Action::Leave { worker },
            138..210 => Action::Advance {
                duration: self.duration(),
                extends: self.0.happens(80),
            },
            210..240 => Action::TakeOver {
                force: self.maybe(40, Self::worker),
            },
            240..330 => self.start(),
            330..410 => Action::Acquire {
                worker,
                serves: self.serves(),
                limit: *self.0.pick(&[0, 1, 2, 3, 4, 6, usize::MAX]),
            },
            410..430 => Action::Reload {
                worker,
                run: self.run(),
                is_late: self.0.happens(20),
            },
            430..440 => Action::Owned { worker },
            440..670 => self.commit(),
            670..700 => self.edit(),
            other => self.other(other, worker),
        }
    }

    fn other(&mut self, number: usize, worker: usize) -> Action {
        match number {
            700..780 => Action::Arrive(self.several(3, |drawing| {
                let inbox_max = *drawing.0.pick(&[100, 100, 2, 1]);
                let kind = *drawing.0.pick(&ArrivalKind::ALL);
                (drawing.run(), inbox_max, kind, drawing.0.happens(10))
            })),
            780..800 => Action::Inbox {
                worker,
                runs: self.several(4, |drawing| {
                    let after = u64::try_from(drawing.0.below(3)).unwrap();
                    (drawing.run(), after)
                }),
            },
            800..830 => Action::Deliver {
                limit: *self.0.pick(&[0, 1, 2, PAGE_MAX, usize::MAX]),
            },
            830..845 => Action::Due(self.serves()),
            845..895 => self.claim(worker),
            895..925 => Action::Report {
                nth: self.0.below(8),
                by: self.maybe(20, Self::worker),
                is_next: self.0.happens(10),
            },
            925..965 => Action::Repeat {
                back: self.0.below(6),
            },
            _ => self.look(),
        }
    }

    fn look(&mut self) -> Action {
        match self.0.below(16) {
            0..2 => Action::Run(self.run()),
            2..4 => Action::States(self.several(4, Self::run)),
            4..9 => Action::List {
                filter: self.filter(),
                after: self.maybe(40, Self::run),
                limit: *self.0.pick(&[0, 1, 2, 5, PAGE_MAX, PAGE_MAX + 1]),
            },
            9..12 => Action::History {
                run: self.run(),
                segment: self.maybe(30, |drawing| *drawing.0.pick(&[0, 1, 2])),
                from: *self.0.pick(&[0, 1, 2, 3, u64::MAX]),
                limit: *self.0.pick(&[0, 1, 2, PAGE_MAX]),
            },
            12..14 => Action::Data {
                run: self.run(),
                key: self.0.below(KEYS.len()),
            },
            14 => Action::Register,
            _ => match self.0.below(4) {
                0 => Action::Reopen,
                _ => Action::Register,
            },
        }
    }

    fn duration(&mut self) -> Duration {
        let micro = Duration::from_micros(1);
        let all = [
            micro,
            micro,
            SECOND,
            SECOND,
            SECOND,
            SECOND,
            SECOND * 3,
            SECOND * 3,
            LEASE / 2,
            LEASE / 2 + micro,
            LEASE - micro,
            LEASE,
            LEASE + micro,
        ];
        *self.0.pick(&all)
    }

    fn serves(&mut self) -> Serves {
        let mut serves = Serves {
            routes: ROUTES.map(route).to_vec(),
            tasks: TASKS.map(task).to_vec(),
            queues: QUEUES.map(queue).to_vec(),
            build: BuildId::new(self.0.pick(&BUILDS)).unwrap(),
        };
        if self.0.happens(30) {
            serves.routes.remove(self.0.below(ROUTES.len()));
            serves.tasks.remove(self.0.below(TASKS.len()));
        }
        if self.0.happens(10) {
            serves.routes.push(route("nothing"));
            serves.queues.remove(self.0.below(QUEUES.len()));
        }
        // A name that is given twice counts once.
        if self.0.happens(5) {
            serves.routes.push(route(ROUTES[0]));
            serves.tasks.push(task(TASKS[0]));
            serves.queues.push(queue(QUEUES[0]));
        }
        serves
    }

    fn start(&mut self) -> Action {
        Action::Start {
            worker: self.maybe(60, Self::worker),
            runs: self.several(3, Self::start_run),
        }
    }

    fn start_run(&mut self) -> StartRun {
        let mut run = run_of(RUNS[self.run()]);
        run.route = route(ROUTES[self.0.below(ROUTES.len())]);
        run.fingerprint = [u8::from(self.0.happens(10)); 16];
        run.record = self.record();
        if self.0.happens(30) {
            run.kind = RunKind::Task;
            run.identity.workflow_type = workflow_type("charge");
        }
        if self.0.happens(40) {
            let value = self.0.pick(&["7", "8", ""]);
            run.tags.push(("plan".to_owned(), (*value).to_owned()));
            if self.0.happens(20) {
                run.tags.push(("plan".to_owned(), "9".to_owned()));
            }
            if self.0.happens(50) {
                run.tags.reverse();
            }
        }
        if self.0.happens(15) {
            let parent = run_of(RUNS[self.run()]).identity;
            let own = run.identity;
            run.identity = parent.child(own.workflow_id, own.workflow_type);
            run.parent_operation = Some(operation_of("x"));
        }
        run
    }

    fn record(&mut self) -> Vec<u8> {
        let length = *self.0.pick(&[0_u32, 1, 1, 9, 9, 9, 300, 66_000]);
        let byte = *self.0.pick(&[0, 1, b'\'', 255]);
        (0..length).map(|at| byte ^ at.to_be_bytes()[3]).collect()
    }

    fn commit(&mut self) -> Action {
        let count = *self.0.pick(&[1, 1, 1, 2, 3]);
        Action::Commit {
            lane: u16::from(self.0.happens(20)),
            other: self.worker(),
            turns: (0..count).map(|_| self.turn()).collect(),
        }
    }

    fn edit(&mut self) -> Action {
        let count = *self.0.pick(&[1, 1, 2]);
        let turns = (0..count).map(|_| self.turn());
        let edits = turns.map(|turn| TurnPlan {
            has_turn: true,
            fate: match turn.fate {
                Fate::Append | Fate::Drain(_) => Fate::Release,
                fate => fate,
            },
            ..turn
        });
        Action::Edit(edits.collect())
    }

    fn turn(&mut self) -> TurnPlan {
        let wrong = match self.0.below(40) {
            0 => Wrong::EpochBefore,
            1 => Wrong::EpochAfter,
            2 => Wrong::Segment,
            3 => Wrong::Gap,
            4 => Wrong::Taken,
            5 => Wrong::Worker,
            _ => Wrong::Nothing,
        };
        TurnPlan {
            run: self.run(),
            is_owned: self.0.happens(80),
            wrong,
            fate: self.fate(),
            reads_all: self.0.happens(60),
            has_turn: self.0.happens(80),
            data: self
                .maybe(20, |drawing| drawing.several(3, Self::datum))
                .unwrap_or_default(),
            child: self.maybe(15, Self::run),
            enqueue: self
                .maybe(25, |drawing| drawing.several(3, Self::attempt))
                .unwrap_or_default(),
            withdraw: self.maybe(10, |drawing| drawing.0.below(OPERATIONS.len())),
            send: self
                .maybe(12, |drawing| drawing.several(2, Self::run))
                .unwrap_or_default(),
        }
    }

    fn datum(&mut self) -> (usize, Option<u8>) {
        let value = self.maybe(70, |drawing| drawing.0.below(256));
        let value = value.map(|value| u8::try_from(value).unwrap());
        (self.0.below(KEYS.len()), value)
    }

    fn attempt(&mut self) -> (usize, u32, usize, usize, i16, Option<u64>) {
        (
            self.0.below(OPERATIONS.len()),
            *self.0.pick(&[1, 1, 2]),
            self.0.below(QUEUES.len()),
            self.0.below(TASKS.len()),
            *self.0.pick(&[0, 0, 0, 5, -5]),
            self.maybe(40, |drawing| u64::try_from(drawing.0.below(6)).unwrap()),
        )
    }

    fn fate(&mut self) -> Fate {
        match self.0.below(100) {
            0..40 => Fate::Append,
            40..58 => Fate::Drain(self.0.happens(35)),
            58..80 => {
                Fate::Park(self.maybe(60, |drawing| *drawing.0.pick(&[-1, 0, 1, 3, 20, FAR])))
            }
            80..86 => Fate::Release,
            86..90 => Fate::Pause,
            90..95 => Fate::Block(self.0.below(BUILDS.len())),
            _ => Fate::End(*self.0.pick(&[
                Status::Completed,
                Status::Failed,
                Status::Cancelled,
                Status::Terminated,
            ])),
        }
    }

    fn claim(&mut self, worker: usize) -> Action {
        let slots = [0, 1, 2, 3, usize::MAX];
        let mut queues: Vec<_> = (0..QUEUES.len())
            .map(|at| (at, *self.0.pick(&slots)))
            .collect();
        let mut tasks: Vec<_> = (0..TASKS.len()).collect();
        if self.0.happens(30) {
            queues.remove(self.0.below(QUEUES.len()));
        }
        if self.0.happens(30) {
            tasks.remove(self.0.below(TASKS.len()));
        }
        if self.0.happens(5) {
            tasks.push(0);
        }
        Action::Claim {
            worker,
            queues,
            tasks,
        }
    }

    fn filter(&mut self) -> RunFilter {
        let statuses = [
            Status::Pending,
            Status::Running,
            Status::Waiting,
            Status::Blocked,
            Status::Completed,
            Status::Failed,
        ];
        let mut tags = Vec::new();
        if self.0.happens(20) {
            tags.push(("customer".to_owned(), "7".to_owned()));
        }
        if self.0.happens(20) {
            tags.push((
                "plan".to_owned(),
                (*self.0.pick(&["7", "8", ""])).to_owned(),
            ));
        }
        RunFilter {
            statuses: self
                .maybe(40, |drawing| {
                    drawing.several(3, |one| *one.0.pick(&statuses))
                })
                .unwrap_or_default(),
            workflow_type: self.maybe(20, |drawing| {
                workflow_type(["order", "charge"][drawing.0.below(2)])
            }),
            kind: self.maybe(20, |drawing| {
                *drawing.0.pick(&[RunKind::Workflow, RunKind::Task])
            }),
            tags,
            parent: self.maybe(15, |drawing| workflow_id(RUNS[drawing.run()])),
            root: self.maybe(15, |drawing| workflow_id(RUNS[drawing.run()])),
            id_prefix: self.maybe(25, |drawing| {
                (*drawing
                    .0
                    .pick(&["a", "a%", "", "z ", "é", "e", "\u{10FFFF}"]))
                .to_owned()
            }),
        }
    }
}
