//! Every case of the conformance suite once more for each kind of fault, over a named store.

mod fixture;

use std::sync::Arc;

use fixture::MemoryFixture;
use longhaul_core::backend::Backend;
use longhaul_core::clock::BackendClock;
use longhaul_tests::Fixture;
use longhaul_tests::broken::{BrokenFixture, Fault};
use longhaul_tests::faults::{Injection, Mishap, check_exceptions, holds_under};
use longhaul_tests::faulty::Operation;

longhaul_tests::faults!(MemoryFixture);

#[test]
fn every_exception_from_the_faults_is_needed() {
    check_exceptions::<MemoryFixture>();
}

/// Opens stores that know no write again.
struct Forgetful(BrokenFixture<MemoryFixture>);

#[async_trait::async_trait]
impl Fixture for Forgetful {
    async fn open() -> Self {
        Self(BrokenFixture::open_with(Fault::ForgetsWrites).await)
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.0.backend()
    }

    fn clock(&self) -> &BackendClock {
        self.0.clock()
    }

    async fn reopen(&mut self) -> Arc<dyn Backend> {
        self.0.reopen().await
    }
}

#[tokio::test]
async fn backend_that_forgets_writes_fails_where_an_answer_is_lost() {
    let case = longhaul_tests::case_of("commit::turns_are_stored_densely_as_they_were_given");
    for (mishap, holds) in [
        (Mishap::Refused, true),
        (Mishap::AnswerLost, false),
        (Mishap::Doubled, false),
        (Mishap::Delayed, true),
    ] {
        let injection = Injection {
            operation: Operation::Commit,
            nth: 1,
            mishap,
        };
        let held = holds_under::<Forgetful>(case, injection).await;
        assert_eq!(held.is_ok(), holds, "{mishap:?}: {held:?}");
        let right = holds_under::<MemoryFixture>(case, injection).await;
        assert_eq!(right, Ok(true), "{mishap:?}");
    }
}
