//! What crosses partitions: subworkflows and messages, moved by whoever comes by.
//!
//! Invariants: an item is taken in once, as the receiver remembers how far it has taken in what each sender sent. It leaves
//! the sender's list after that. Subworkflows go before messages, so that a message finds the run it is for.

use crate::error::{Result, unreadable};
use crate::layout::Slot;
use crate::pack::Unpacked;
use crate::reply::{self, Items};
use crate::script::{ACKNOWLEDGE, RECEIVE, SENT};
use crate::{Store, together};

/// Is the most items of one list that are moved at once.
const BATCH: usize = 100;

/// Is a list of one partition for another.
struct List {
    name: String,
    from: u16,
    to: u16,
    items: Vec<Vec<u8>>,
}

impl List {
    fn is_of_messages(&self) -> bool {
        self.name.starts_with("messages:")
    }
}

/// Moves up to `limit` messages, and all subworkflows, to where they go; returns how many messages were moved.
pub(crate) async fn deliver(store: &Store, limit: usize) -> Result<usize> {
    let mut moved = 0;
    while moved < limit {
        let lists = lists(store, BATCH.min(limit - moved)).await?;
        let (messages, starts): (Vec<_>, Vec<_>) =
            lists.into_iter().partition(List::is_of_messages);
        let is_empty = messages.is_empty() && starts.is_empty();
        bring(store, starts).await?;
        moved += bring(store, at_most(messages, limit - moved)).await?;
        if is_empty {
            break;
        }
    }
    Ok(moved)
}

/// Brings subworkflows to where they live; what fails is left to a later delivery.
pub(crate) async fn bring_starts(store: &Store, partitions: &[u16]) {
    let bring_all = async {
        loop {
            let ask = |partition: &u16| (*partition, store.on(&SENT, *partition).number(BATCH));
            let asked = store.ask_each(partitions.iter().map(ask).collect());
            let lists = read_lists(asked.await?)?;
            let starts = lists.into_iter().filter(|list| !list.is_of_messages());
            let starts: Vec<_> = starts.collect();
            if starts.is_empty() {
                return Ok(());
            }
            bring(store, starts).await?;
        }
    };
    if partitions.is_empty() {
        return;
    }
    let brought: Result<()> = bring_all.await;
    if let Err(cause) = brought {
        tracing::debug!(%cause, "subworkflows wait in the outbox");
    }
}

/// Reads the first items of all lists, of the partitions that are ready.
async fn lists(store: &Store, limit: usize) -> Result<Vec<List>> {
    let answers = store.ask_ready(|partition| store.on(&SENT, partition).number(limit));
    read_lists(answers.await?)
}

fn read_lists(answers: Vec<(u16, Items)>) -> Result<Vec<List>> {
    let mut lists = Vec::new();
    for (from, mut items) in answers {
        for list in items.list()?.each(Items::of)? {
            lists.push(read_list(from, list)?);
        }
    }
    Ok(lists)
}

fn read_list(from: u16, mut list: Items) -> Result<List> {
    let name = list.text()?;
    let to = name.rsplit_once(':').and_then(|(_, to)| to.parse().ok());
    Ok(List {
        from,
        to: to.ok_or_else(|| unreadable("list of the outbox", &name))?,
        items: list.list()?.each(reply::bytes)?,
        name,
    })
}

/// Leaves out what is more than `limit` items.
fn at_most(lists: Vec<List>, limit: usize) -> Vec<List> {
    let mut left = limit;
    let cut = lists.into_iter().map(|mut list| {
        list.items.truncate(left);
        left -= list.items.len();
        list
    });
    cut.filter(|list| !list.items.is_empty()).collect()
}

/// Has lists taken in, and takes them off; returns how many items were new.
async fn bring(store: &Store, lists: Vec<List>) -> Result<usize> {
    let each = lists.iter().map(|list| bring_one(store, list));
    let news = together(futures_util::future::join_all(each).await)?;
    Ok(news.into_iter().sum())
}

async fn bring_one(store: &Store, list: &List) -> Result<usize> {
    let what = if list.is_of_messages() {
        "message"
    } else {
        "start"
    };
    let kind = list.name.split_once(':').map_or("", |(kind, _)| kind);
    let mut receive = store
        .on(&RECEIVE, list.to)
        .arg(kind)
        .number(list.from)
        .number(list.items.len());
    for item in &list.items {
        let mut item = Unpacked(item);
        receive = receive.arg(item.next()?).arg(item.next()?).arg(what);
        receive = receive.args(item.rest()?);
    }
    let mut items = store.ask(Slot::Partition(list.to), receive).await?;
    let news = items.number("count of items")?;
    let acknowledge = store
        .on(&ACKNOWLEDGE, list.from)
        .arg(&list.name)
        .counted(&list.items);
    let _: Items = store.ask(Slot::Partition(list.from), acknowledge).await?;
    Ok(news)
}
