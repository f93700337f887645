//! Signals that end a process by default.

use std::process::Stdio;

use crate::program::Program;

#[tokio::test]
async fn a_hang_up_ends_nothing_and_a_quit_drains() {
    let shop = Program::start(Stdio::null(), Stdio::null(), &[]).await;
    for signal in ["HUP", "USR1", "USR2", "ALRM", "XFSZ", "PIPE"] {
        shop.signal(signal).await;
        shop.order(signal).await;
    }
    shop.signal("QUIT").await;
    assert_eq!(shop.ended().await.code(), Some(0), "drained, not killed");
}
