//! Payments by themselves and against the bank's books, by key from both sides at once.

use std::collections::BTreeMap;

use anyhow::Context as _;
use payment_service::audit::AuditPayment;

use super::{
    READS_MAX, Run,
    account::Account,
    bank::{Bank, Source},
    books::Books,
    laws::{Finding, Found, bank as law, payments as by_itself},
};

/// Records of one page, on either side.
const ROWS: u32 = 500;

/// Every payment, and every account at the bank.
pub(super) async fn check(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut wrong_with_statement = Vec::new();
    let opened = Bank::open(&run.books.bank, run.books.ledger.clone(), &mut wrong_with_statement).await;
    run.report.add(wrong_with_statement.into_iter().map(|found| of_key("", None, found)));
    let mut bank = match opened {
        Ok(bank) => bank,
        Err(error) => {
            run.not_checked("the bank's books: the acquirer's statement could not be read", &error);
            None
        }
    };
    if let Source::LeftOut(why) = &run.books.bank {
        run.report.left_out.push(format!("the bank's books: {why}"));
    }
    run.report.movements = bank.as_ref().map_or(0, Bank::movements);
    let mut after = String::new();
    loop {
        let page = run.books.payments.by_key(&after, ROWS).await.context("the payment store")?;
        for payment in &page {
            run.report.add(by_itself::check(payment).into_iter().map(|found| of_payment(payment, found)));
        }
        let upto = page.last().filter(|_| page.len() == ROWS as usize).map(|last| last.key.clone());
        if let Some(bank) = &mut bank {
            against(run, bank, (&after, upto.as_deref()), page).await?;
        }
        run.progress.show(&run.report);
        match upto {
            Some(upto) => after = upto,
            None => return Ok(()),
        }
    }
}

/// One range of keys, on both sides.
async fn against(
    run: &mut Run<'_>,
    bank: &mut Bank,
    (after, upto): (&str, Option<&str>),
    page: Vec<AuditPayment>,
) -> anyhow::Result<()> {
    let mut payments: BTreeMap<String, AuditPayment> =
        page.into_iter().map(|payment| (payment.key.clone(), payment)).collect();
    let mut from = after.to_owned();
    loop {
        let accounts = bank.accounts(&from, upto, ROWS).await?;
        let Some(last) = accounts.last() else { break };
        from.clone_from(&last.key);
        for account in &accounts {
            let payment = payments.remove(&account.key);
            suspect(run, bank, &account.key, payment.as_ref(), Some(account)).await?;
        }
    }
    for payment in payments.into_values() {
        suspect(run, bank, &payment.key, Some(&payment), None).await?;
    }
    Ok(())
}

/// Reports what differs, if it still does when it is read again.
async fn suspect(
    run: &mut Run<'_>,
    bank: &mut Bank,
    key: &str,
    payment: Option<&AuditPayment>,
    account: Option<&Account>,
) -> anyhow::Result<()> {
    if law::compare(payment, account).is_empty() {
        return Ok(());
    }
    let (payment, found) = look_again(run.books, bank, key).await?;
    run.report.add(found.into_iter().map(|found| match &payment {
        Some(payment) if !payment.tombstone => of_payment(payment, found),
        _ => of_key(key, None, found),
    }));
    Ok(())
}

/// Reads both until ours stands still: an intent is on record before the bank is asked, so that whatever the bank had done when it was
/// read is in what we read afterwards.
async fn look_again(books: &Books, bank: &mut Bank, key: &str) -> anyhow::Result<(Option<AuditPayment>, Vec<Found>)> {
    let mut before = books.payments.of_key(key).await.context("the payment store")?;
    for _ in 0..READS_MAX {
        let account = bank.account_now(key).await?;
        let after = books.payments.of_key(key).await.context("the payment store")?;
        if after == before {
            let found = law::compare(after.as_ref(), account.as_ref());
            return Ok((after, found));
        }
        before = after;
    }
    Ok((None, Vec::new()))
}

fn of_payment(payment: &AuditPayment, found: Found) -> Finding {
    let order = (!payment.order.is_empty()).then(|| payment.order.clone());
    Finding { law: found.law, about: "payment", subject: payment.id.clone(), order, detail: found.detail }
}

fn of_key(key: &str, order: Option<String>, found: Found) -> Finding {
    Finding { law: found.law, about: "key", subject: key.to_owned(), order, detail: found.detail }
}
