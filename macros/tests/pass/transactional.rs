//! A connection is no argument, and what it borrows lives as long as the body.
extern crate longhaul_core as longhaul;

use longhaul::call::Call;
use longhaul::context::TaskContext;
use longhaul::registry::Dep;
use longhaul::Result;
use longhaul_macros::task;

pub struct Connection {
    seats: u32,
}

mod driver {
    pub type Link = super::Connection;
}

#[task(transactional, retries = 2)]
async fn reserve(tx: &mut Connection, seats: u32) -> Result<u32> {
    tx.seats -= seats;
    Ok(tx.seats)
}

#[task(transactional)]
async fn with_everything(
    ctx: TaskContext,
    tx: &mut driver::Link,
    name: String,
    limit: Dep<u32>,
) -> Result<String, std::fmt::Error> {
    let seats = &mut tx.seats;
    tokio::task::yield_now().await;
    *seats += *limit + ctx.attempt();
    Ok(format!("{name} has {seats}"))
}

fn main() {
    let call: Call<u32> = reserve(3);
    let mut connection = Connection { seats: 10 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert_eq!(call.local().within(&mut connection).await.unwrap(), 7);
        let all = with_everything("lamp".to_owned()).local().provide(5_u32);
        assert_eq!(all.within(&mut connection).await.unwrap(), "lamp has 13");
    });
}
