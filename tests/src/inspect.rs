//! The read side.

use longhaul_core::backend::{HistoryRequest, Kind, ListRequest, PAGE_MAX, RunFilter, StartRun};
use longhaul_core::id::{DataKey, Segment, TurnNumber};
use longhaul_core::identity::RunKind;
use longhaul_core::status::Status;

use crate::world::{LEASE, World, ids, new_worker_id, run_of, serves, workflow_id, workflow_type};

async fn page(world: &World, after: Option<&str>, limit: usize) -> Vec<String> {
    let request = ListRequest {
        filter: RunFilter::default(),
        after: after.map(workflow_id),
        limit,
    };
    ids(&world.backend().list(request).await.unwrap())
}

fn pages_of(run: &str, from: u64, limit: usize) -> HistoryRequest {
    HistoryRequest {
        run: workflow_id(run),
        segment: None,
        from: TurnNumber(from),
        limit,
    }
}

fn tagged(id: &str, tags: &[(&str, &str)]) -> StartRun {
    let tags = tags
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    StartRun {
        tags: tags.collect(),
        ..run_of(id)
    }
}

async fn chosen_by(world: &World, filter: RunFilter) -> Vec<String> {
    let found = world.list(filter.clone()).await;
    let counted = world.backend().count(&filter).await.unwrap();
    assert_eq!(counted, found.len() as u64, "the count differs: {filter:?}");
    found
}

pub async fn runs_are_listed_in_the_order_of_the_bytes_of_their_ids(world: World) {
    for id in ["b", "é", "a", "Z", "a/b", "a b", "\u{1F600}", "\u{FF5E}"] {
        world.start(id).await;
    }
    assert_eq!(
        world.list(RunFilter::default()).await,
        ["Z", "a", "a b", "a/b", "b", "é", "\u{FF5E}", "\u{1F600}"]
    );
}

pub async fn pages_miss_and_repeat_nothing_while_others_are_started(world: World) {
    for id in ["b", "d", "f", "h"] {
        world.start(id).await;
    }
    assert_eq!(page(&world, None, 2).await, ["b", "d"]);
    for id in ["a", "c", "e", "i"] {
        world.start(id).await;
    }
    assert_eq!(page(&world, Some("d"), 2).await, ["e", "f"]);
    assert_eq!(page(&world, Some("f"), 9).await, ["h", "i"]);
    assert!(page(&world, Some("i"), 9).await.is_empty());
}

pub async fn page_goes_on_after_an_id_that_is_not_there(world: World) {
    world.start("a").await;
    world.start("c").await;
    assert_eq!(page(&world, Some("b"), 9).await, ["c"]);
}

pub async fn filter_by_status_chooses_any_of_them(world: World) {
    world.start("pending").await;
    world.start_owned("running").await;
    world.start_and_park("waiting", None).await;
    world.start_and_end("completed").await;
    let filter = RunFilter {
        statuses: vec![Status::Completed, Status::Pending],
        ..RunFilter::default()
    };
    assert_eq!(chosen_by(&world, filter).await, ["completed", "pending"]);
    assert_eq!(chosen_by(&world, RunFilter::default()).await.len(), 4);
}

pub async fn filter_by_type_and_kind(world: World) {
    world.start("a").await;
    let mut task = run_of("b");
    task.identity.workflow_type = workflow_type("charge");
    task.kind = RunKind::Task;
    world.start_as(task).await;
    let filter = RunFilter {
        workflow_type: Some(workflow_type("charge")),
        ..RunFilter::default()
    };
    assert_eq!(chosen_by(&world, filter).await, ["b"]);
    let filter = RunFilter {
        kind: Some(RunKind::Workflow),
        ..RunFilter::default()
    };
    assert_eq!(chosen_by(&world, filter).await, ["a"]);
}

pub async fn filter_by_tags_needs_all_of_them(world: World) {
    world
        .start_as(tagged("a", &[("customer", "1"), ("plan", "x")]))
        .await;
    world.start_as(tagged("b", &[("customer", "1")])).await;
    world
        .start_as(tagged("c", &[("customer", "x"), ("plan", "1")]))
        .await;
    let filter = |tags: &[(&str, &str)]| RunFilter {
        tags: tagged("unused", tags).tags,
        ..RunFilter::default()
    };
    let both = filter(&[("customer", "1"), ("plan", "x")]);
    assert_eq!(chosen_by(&world, both).await, ["a"]);
    assert_eq!(
        chosen_by(&world, filter(&[("customer", "1")])).await,
        ["a", "b"]
    );
    assert!(
        chosen_by(&world, filter(&[("customer", "")]))
            .await
            .is_empty()
    );
}

pub async fn filter_by_parent_and_root(world: World) {
    let top = run_of("top").identity;
    let middle = top.child(workflow_id("middle"), workflow_type("order"));
    let leaf = middle.child(workflow_id("leaf"), workflow_type("order"));
    for identity in [top, middle, leaf] {
        let id = identity.workflow_id.clone();
        let run = StartRun {
            identity,
            ..run_of(id.as_str())
        };
        world.start_as(run).await;
    }
    world.start("other").await;
    let parent = RunFilter {
        parent: Some(workflow_id("top")),
        ..RunFilter::default()
    };
    assert_eq!(chosen_by(&world, parent).await, ["middle"]);
    let root = RunFilter {
        root: Some(workflow_id("top")),
        ..RunFilter::default()
    };
    assert_eq!(chosen_by(&world, root).await, ["leaf", "middle", "top"]);
}

pub async fn filter_by_prefix_takes_every_character_as_it_is(world: World) {
    for id in ["a%b", "axb", "a_b", "A%b", "b", "a\u{10FFFF}"] {
        world.start(id).await;
    }
    let filter = |prefix: &str| RunFilter {
        id_prefix: Some(prefix.to_owned()),
        ..RunFilter::default()
    };
    assert_eq!(chosen_by(&world, filter("a%")).await, ["a%b"]);
    assert_eq!(chosen_by(&world, filter("a_")).await, ["a_b"]);
    assert_eq!(
        chosen_by(&world, filter("a")).await,
        ["a%b", "a_b", "axb", "a\u{10FFFF}"]
    );
    assert_eq!(chosen_by(&world, filter("")).await.len(), 6);
}

pub async fn filters_narrow_each_other_and_pages_follow_them(world: World) {
    for (id, plan) in [("x1", "a"), ("x2", "b"), ("x3", "a"), ("y1", "a")] {
        world.start_as(tagged(id, &[("plan", plan)])).await;
    }
    let filter = RunFilter {
        id_prefix: Some("x".to_owned()),
        tags: tagged("unused", &[("plan", "a")]).tags,
        statuses: vec![Status::Pending],
        ..RunFilter::default()
    };
    assert_eq!(chosen_by(&world, filter.clone()).await, ["x1", "x3"]);
    let request = ListRequest {
        filter,
        after: Some(workflow_id("x1")),
        limit: 1,
    };
    assert_eq!(ids(&world.backend().list(request).await.unwrap()), ["x3"]);
}

pub async fn limit_of_nothing_or_above_the_largest_page_is_invalid(world: World) {
    world.start("a").await;
    for limit in [0, PAGE_MAX + 1, usize::MAX] {
        let request = ListRequest {
            filter: RunFilter::default(),
            after: None,
            limit,
        };
        let refused = world.backend().list(request).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{limit}");
        let refused = world.backend().history(pages_of("a", 0, limit)).await;
        assert_eq!(refused.unwrap_err().kind(), Kind::Invalid, "{limit}");
    }
    assert_eq!(page(&world, None, PAGE_MAX).await, ["a"]);
}

pub async fn history_is_paged_by_turn(world: World) {
    let mut run = world.start_owned("a").await;
    for _ in 0..4 {
        world.append(&mut run).await;
    }
    let backend = world.backend();
    let numbers = async |from, limit| {
        let turns = backend.history(pages_of("a", from, limit)).await.unwrap();
        turns.iter().map(|turn| turn.turn.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers(0, 2).await, [0, 1]);
    assert_eq!(numbers(2, 2).await, [2, 3]);
    assert_eq!(numbers(4, 2).await, [4]);
    assert!(numbers(5, 2).await.is_empty());
}

pub async fn history_is_of_the_segment_that_was_asked_for(world: World) {
    world.start("a").await;
    let of = |segment| HistoryRequest {
        segment: Some(segment),
        ..pages_of("a", 0, 9)
    };
    let backend = world.backend();
    assert_eq!(backend.history(of(Segment::FIRST)).await.unwrap().len(), 1);
    assert_eq!(backend.history(of(Segment(2))).await.unwrap(), []);
}

pub async fn states_are_told_in_the_order_asked_for_and_none_for_the_unknown(world: World) {
    world.start_and_end("finished").await;
    let mut blocked = world.start_owned("blocked").await;
    world
        .done(blocked.turn().block("build-1"), &mut blocked)
        .await;
    world.start("pending").await;
    let asked = ["unknown", "finished", "blocked", "pending", "finished"].map(workflow_id);
    let states = world.backend().states(&asked).await.unwrap();
    assert_eq!(states.len(), 5);
    assert_eq!(states[0], None);
    assert_eq!(states[1], states[4]);
    let finished = states[1].as_ref().unwrap();
    assert_eq!(
        (finished.status, finished.segment),
        (Status::Completed, Segment::FIRST)
    );
    let last = world.history("finished").await.pop();
    assert_eq!(finished.last_turn, last);
    let blocked = states[2].as_ref().unwrap();
    assert_eq!(blocked.blocked.as_deref(), Some("other code"));
    assert_eq!(
        (blocked.status, &blocked.last_turn),
        (Status::Blocked, &None)
    );
    assert_eq!(states[3].as_ref().unwrap().status, Status::Pending);
}

pub async fn unknown_run_is_none_or_not_found(world: World) {
    assert_eq!(world.find("a").await, None);
    let (backend, unknown) = (world.backend(), workflow_id("a"));
    let key = DataKey::new("k").unwrap();
    let data = backend.data(&unknown, &key).await.unwrap_err();
    let all = backend.all_data(&unknown).await.unwrap_err();
    let history = backend.history(pages_of("a", 0, 1)).await.unwrap_err();
    for error in [data, all, history] {
        assert_eq!(error.kind(), Kind::NotFound);
    }
}

pub async fn workers_are_shown_as_they_joined_with_what_they_own(world: World) {
    world.start_owned("a").await;
    world.start_owned("b").await;
    let late = new_worker_id();
    let mut several = serves();
    several.routes.push(crate::world::route("task:charge"));
    several.queues.clear();
    let request = longhaul_core::backend::JoinRequest {
        worker: late,
        lease: LEASE * 2,
        lanes: 1,
        serves: several.clone(),
        label: "host:7 \"x\"".to_owned(),
    };
    world.backend().join(request).await.unwrap();
    let workers = world.backend().workers().await.unwrap();
    let order: Vec<_> = workers.iter().map(|worker| worker.worker).collect();
    assert_eq!(order, [world.me, late]);
    assert_eq!((workers[0].runs, workers[1].runs), (2, 0));
    assert_eq!(workers[0].serves, serves());
    assert_eq!(workers[1].serves, several);
    assert_eq!(workers[1].label, "host:7 \"x\"");
    assert_eq!(workers[1].lease_until, world.now().after(LEASE * 2));
}

pub async fn queues_show_what_waits_and_what_is_claimed(world: World) {
    assert!(world.backend().queues().await.unwrap().is_empty());
    let mut run = world.start_owned("a").await;
    let later = world.now().after(LEASE);
    let mut delayed = run.attempt("3");
    delayed.due = Some(later);
    let mut elsewhere = run.attempt("4");
    elsewhere.queue = crate::world::queue("a queue");
    let enqueue = run
        .turn()
        .enqueue(run.attempt("1"))
        .enqueue(run.attempt("2"))
        .enqueue(delayed)
        .enqueue(elsewhere);
    world.done(enqueue, &mut run).await;
    world.claim_one(world.me).await;
    let queues = world.backend().queues().await.unwrap();
    let shown: Vec<_> = queues
        .iter()
        .map(|queue| (queue.queue.as_str(), queue.waiting, queue.claimed))
        .collect();
    assert_eq!(shown, [("a queue", 1, 0), ("mail", 2, 1)]);
}

pub async fn listed_rows_are_those_that_are_shown_alone(world: World) {
    let mut blocked = world.start_owned("blocked").await;
    world
        .done(blocked.turn().block("build-1"), &mut blocked)
        .await;
    world.start_and_park("parked", Some(world.now())).await;
    world.start_owned("running").await;
    world.signal("running").await;
    world
        .start_as(tagged("tagged", &[("z", "1"), ("a", "2")]))
        .await;
    let request = crate::world::list_of(RunFilter::default());
    for row in world.backend().list(request).await.unwrap() {
        let id = row.identity.workflow_id.clone();
        assert_eq!(world.backend().run(&id).await.unwrap(), Some(row));
    }
}

pub async fn every_status_has_a_filter_of_its_own(world: World) {
    world.start("Pending").await;
    world.start_owned("Running").await;
    world.start_and_park("Waiting", None).await;
    let mut blocked = world.start_owned("Blocked").await;
    world
        .done(blocked.turn().block("build-1"), &mut blocked)
        .await;
    let ends = [
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
        Status::Terminated,
    ];
    for status in ends {
        let mut run = world.start_owned(status.as_str()).await;
        world.done(run.turn().end_as(status), &mut run).await;
    }
    let others = [
        Status::Pending,
        Status::Running,
        Status::Waiting,
        Status::Blocked,
    ];
    for status in others.into_iter().chain(ends) {
        let filter = RunFilter {
            statuses: vec![status],
            ..RunFilter::default()
        };
        assert_eq!(chosen_by(&world, filter).await, [status.as_str()]);
    }
}

pub async fn tag_name_may_be_given_twice(world: World) {
    let tags = [("item", "1"), ("item", "2")];
    world.start_as(tagged("a", &tags)).await;
    world.start_as(tagged("b", &[("item", "2")])).await;
    assert_eq!(world.run("a").await.tags, tagged("a", &tags).tags);
    for (chosen, by) in [
        (&["a"][..], &[("item", "1")][..]),
        (&["a", "b"], &[("item", "2")]),
        (&["a"], &tags),
    ] {
        let filter = RunFilter {
            tags: tagged("unused", by).tags,
            ..RunFilter::default()
        };
        assert_eq!(chosen_by(&world, filter).await, chosen);
    }
}
