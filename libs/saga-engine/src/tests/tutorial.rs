//! The tutorial does what it says.

#[path = "../../examples/tutorial.rs"]
#[expect(dead_code, unreachable_pub, reason = "here it is a module, and its `main` is not called")]
mod example;

#[tokio::test]
async fn three_trips() {
    example::three_trips().await.unwrap();
}

#[test]
fn every_fault() {
    assert!(example::every_fault().unwrap() > 150);
}
