//! Which partition a run lives in, and what keys are called.
//!
//! Invariants: the partition of a run follows from its id alone, for ever. All keys of a partition have one hash tag, so
//! that they are in one slot of a cluster. A subworkflow that the user did not name lives where its parent does.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use longhaul_core::id::WorkflowId;
use siphasher::sip::SipHasher24;

/// Is a slot: the keys that one script may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// The register of workers.
    Leases,
    /// One of the partitions that runs are spread over.
    Partition(u16),
}

/// Knows the keys of a store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    namespace: String,
    pub(crate) partitions: u16,
}

impl Layout {
    pub(crate) const fn new(namespace: String, partitions: u16) -> Self {
        Self {
            namespace,
            partitions,
        }
    }

    /// Returns what the keys of a slot begin with.
    pub(crate) fn tag(&self, slot: Slot) -> String {
        let namespace = &self.namespace;
        match slot {
            Slot::Leases => format!("{{lh:{namespace}:workers}}:"),
            Slot::Partition(number) => format!("{{lh:{namespace}:{number}}}:"),
        }
    }

    /// Returns the channel of hints.
    pub(crate) fn channel(&self) -> String {
        format!("lh:{}:news", self.namespace)
    }

    /// Returns the partition of a run.
    pub(crate) fn partition_of(&self, run: &WorkflowId) -> u16 {
        let mut hasher = SipHasher24::new();
        hasher.write(home(run.as_str()).as_bytes());
        let partition = hasher.finish() % u64::from(self.partitions.max(1));
        u16::try_from(partition).unwrap_or_default()
    }

    /// Sorts requests by the partitions of their runs: says at which positions each has its own.
    pub(crate) fn spread<T>(
        &self,
        requests: &[T],
        run_of: impl Fn(&T) -> &WorkflowId,
    ) -> BTreeMap<u16, Vec<usize>> {
        let mut positions: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (position, request) in requests.iter().enumerate() {
            let partition = self.partition_of(run_of(request));
            positions.entry(partition).or_default().push(position);
        }
        positions
    }

    /// Lists the partitions.
    pub(crate) fn all(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.partitions
    }
}

/// Returns what of an id decides on its partition: all but the ends `/SEGMENT/NAME#NTH` that ids of subworkflows have.
fn home(id: &str) -> &str {
    let mut rest = id;
    while let Some(parent) = parent(rest) {
        rest = parent;
    }
    rest
}

fn parent(id: &str) -> Option<&str> {
    let (rest, name) = id.rsplit_once('/')?;
    let (parent, segment) = rest.rsplit_once('/')?;
    let (_, nth) = name.rsplit_once('#')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(segment) && is_number(nth) && !parent.is_empty()).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(id: &str) -> u16 {
        Layout::new("default".to_owned(), 16).partition_of(&WorkflowId::from_stored(id))
    }

    #[test]
    fn subworkflow_without_a_name_lives_where_its_root_does() {
        for root in ["order-7", "customers/42", "a#1", "a/b/c"] {
            let child = format!("{root}/1/charge#1");
            let grandchild = format!("{child}/12/refund#3");
            assert_eq!(home(&grandchild), root);
            assert_eq!(partition(&grandchild), partition(root));
        }
    }

    #[test]
    fn id_that_only_looks_alike_is_its_own_home() {
        for id in [
            "/1/charge#1",
            "a/b/charge#1",
            "a/1/charge#x",
            "a/1/charge",
            "a//charge#1",
            "#1",
        ] {
            assert_eq!(home(id), id);
        }
    }

    #[test]
    fn runs_are_spread_over_all_partitions() {
        let mut counts = [0; 16];
        for number in 0..1_600 {
            counts[usize::from(partition(&format!("order-{number}")))] += 1;
        }
        assert!(
            counts.iter().all(|count| (50..200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn partition_of_a_run_never_changes() {
        let found: Vec<_> = ["order-1", "order-2", "customers/42"]
            .map(partition)
            .to_vec();
        assert_eq!(found, [15, 2, 3]);
    }

    #[test]
    fn keys_of_a_slot_have_one_hash_tag() {
        let layout = Layout::new("eu".to_owned(), 16);
        assert_eq!(layout.tag(Slot::Partition(7)), "{lh:eu:7}:");
        assert_eq!(layout.tag(Slot::Leases), "{lh:eu:workers}:");
        assert_eq!(layout.channel(), "lh:eu:news");
    }
}
