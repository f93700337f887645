//! Reading the acquirer's statement, over a real socket; and what is said where there is none.

use payment_service::{
    config::HttpProcessorConfig,
    processor::http::statement::{Statement, StatementError},
};
use service_kit::faults::FaultsConfig;

use crate::{
    bank::Bank,
    service::{Service, charging, config_at, refunding},
    support::sqlite,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statement_has_what_moved_in_order() {
    let bank = Bank::open().await;
    let place = sqlite().await.unwrap();
    let mut config = config_at(&place);
    bank.serves(&mut config);
    let service = Service::start(config).await;
    let paid = service.charge(charging(500, "pm_ok")).await.unwrap();
    service.charge(charging(700, "pm_declined")).await.unwrap_err();
    service.refund(refunding(&paid, Some(120))).await.unwrap();
    let statement = Statement::new(&bank.client_config()).unwrap();
    let page = statement.page(0).await.unwrap();
    let lines: Vec<_> =
        page.movements.iter().map(|line| (line.seq, line.kind.as_str(), line.amount.amount_minor())).collect();
    assert_eq!((lines, page.next, page.more), (vec![(1, "capture", 500), (2, "refund", 120)], 2, false));
    assert_eq!(page.movements[0].charge, page.movements[1].charge);
    let rest = statement.page(page.next).await.unwrap();
    assert_eq!((rest.movements.len(), rest.next, rest.more), (0, 2, false));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_asked_for_again_while_the_acquirer_fails() {
    let bank = Bank::open().await;
    bank.faults.set(FaultsConfig { error_pct: 100, next_calls: 3, ..FaultsConfig::default() }).unwrap();
    assert_eq!(Statement::new(&bank.client_config()).unwrap().page(0).await.unwrap().next, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_statement_it_is_said_why() {
    let mut bank = Bank::open().await;
    let stranger = HttpProcessorConfig { secret: "another-secret-of-a-stranger".into(), ..bank.client_config() };
    let refused = Statement::new(&stranger).unwrap().page(0).await.unwrap_err();
    assert!(matches!(refused, StatementError::Refused { status: 401 }), "{refused}");
    bank.kill();
    let away = Statement::new(&bank.client_config()).unwrap().page(0).await.unwrap_err();
    assert!(matches!(away, StatementError::Unreachable(_)), "{away}");
    assert!(!format!("{away:?}").contains("secret"), "{away:?}");
}
