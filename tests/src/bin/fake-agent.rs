//! The fake agent as a process: `fake-agent LEDGER READY-FILE`. Ends when its standard input closes.

use std::path::PathBuf;

use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(ledger), Some(ready)) = (args.next(), args.next()) else {
        return Err(std::io::Error::other("usage: fake-agent LEDGER READY-FILE [PORT]"));
    };
    let port = args.next().and_then(|port| port.to_str()?.parse().ok()).unwrap_or(0);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let draft = ready.with_extension("draft");
    std::fs::write(&draft, listener.local_addr()?.to_string())?;
    std::fs::rename(&draft, &ready)?;
    let mut stdin = tokio::io::stdin();
    let mut nothing = [0; 64];
    tokio::select! {
        served = mainstay_tests::agent::serve(listener, &ledger) => served,
        _ = async { while stdin.read(&mut nothing).await.is_ok_and(|read| read > 0) {} } => Ok(()),
    }
}
