//! What is recorded: a first start and orders; a stop, a start and orders; a kill under load, a start and orders; a stop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use amends::client::{Answer, Client, order_of};
use amends_tests::{
    check::key,
    direct::Told,
    kit::power::{Image, Recorded, Recording},
    platform::{Platform, Setup},
    process::{Launch, eventually},
};
use anyhow::{Result, bail, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::support::here;

const CUSTOMERS: usize = 8;
/// An order that has no answer by then has been left alone.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// An order that a customer asked for, and where the recording was before the customer did.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) at: u64,
    pub(super) key: String,
    pub(super) order: Value,
}

/// An answer, and where the recording was when it came.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) at: u64,
    key: String,
    id: String,
    told: Told,
}

/// The whole recording.
pub(super) struct Story {
    pub(super) recorded: Recorded,
    pub(super) asked: Vec<Asked>,
    pub(super) answers: Vec<Answered>,
}

/// What customers knew at one moment.
pub(super) struct Known<'a> {
    /// The last answer about each order.
    pub(super) told: BTreeMap<String, Told>,
    /// The order that a key was answered with.
    pub(super) order_of_key: BTreeMap<&'a str, &'a str>,
    /// What had been asked, the oldest first.
    pub(super) asked: Vec<&'a Asked>,
}

impl Story {
    /// What customers knew then.
    pub(super) fn known_at(&self, at: u64) -> Known<'_> {
        let before = || self.answers.iter().filter(|answer| answer.at <= at);
        let mut asked: Vec<_> = self.asked.iter().filter(|asked| asked.at <= at).collect();
        asked.sort_by_key(|asked| asked.at);
        Known {
            told: before().map(|answer| (answer.id.clone(), answer.told)).collect(),
            order_of_key: before().map(|answer| (answer.key.as_str(), answer.id.as_str())).collect(),
            asked,
        }
    }

    /// Where the first answer came: what lies before it is the first start.
    pub(super) fn first_answer(&self) -> u64 {
        self.answers.iter().map(|answer| answer.at).min().unwrap_or_default()
    }
}

/// Records, with so many orders of each customer in each part; `None` where nothing can be recorded.
pub(super) async fn record(test: &str, orders: usize, random: &mut StdRng) -> Result<Option<Story>> {
    let dir = tempfile::Builder::new().prefix("amends-power-").tempdir()?;
    let data = dir.path().join("data");
    let Some(recording) = here(test, Recording::of(&data)) else { return Ok(None) };
    let launch = recording.in_launch(Launch::default());
    let mut platform = Platform::embedded_as(Setup { data: Some(data), launch, ..Setup::default() }).await?;
    let book = Arc::new(Book { recording, pages: Mutex::default(), placed: AtomicUsize::new(0) });
    for part in 0..3 {
        let demo = platform.demo().await?;
        let before = book.placed.load(Ordering::SeqCst);
        let customer = |_| {
            let (demo, book, seed) = (demo.clone(), Arc::clone(&book), random.random());
            tokio::spawn(shop(demo, book, orders, seed))
        };
        let customers: Vec<_> = (0..CUSTOMERS).map(customer).collect();
        if part == 1 {
            let half = before + CUSTOMERS * orders / 2;
            let placed = || async { book.placed.load(Ordering::SeqCst) >= half };
            eventually("half of the orders are answered", PATIENCE, placed).await?;
            book.recording.halt().await?;
            platform.kill("amends").await?;
            book.recording.go_on()?;
            platform.restart("amends").await?;
        }
        for customer in customers {
            customer.await?.map_err(|error| error.context(platform.logs()))?;
        }
        if part == 0 {
            platform.terminate("amends", PATIENCE).await?;
            platform.restart("amends").await?;
        }
    }
    platform.settled().await?;
    platform.stop().await?;
    let recorded = book.recording.read()?;
    same(&recorded.everything(random)?, &book.recording.folder()?)?;
    let Pages { asked, answers } = book.pages().clone();
    Ok(Some(Story { recorded, asked, answers }))
}

/// The recorder has missed nothing.
fn same(recorded: &Image, folder: &Image) -> Result<()> {
    let (names, there): (Vec<_>, Vec<_>) = (recorded.keys().collect(), folder.keys().collect());
    ensure!(names == there, "recorded are {names:?}, and in the folder are {there:?}");
    let differs = recorded.iter().filter(|(name, bytes)| folder.get(*name) != Some(bytes));
    let differs: Vec<&String> = differs.map(|(name, _)| name).collect();
    ensure!(differs.is_empty(), "not all was recorded of {differs:?}");
    Ok(())
}

/// Where customers write down what they ask and what they hear.
struct Book {
    recording: Recording,
    pages: Mutex<Pages>,
    placed: AtomicUsize,
}

#[derive(Debug, Clone, Default)]
struct Pages {
    asked: Vec<Asked>,
    answers: Vec<Answered>,
}

impl Book {
    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, key: &str, order: &Value) -> Result<()> {
        let at = self.recording.position()?;
        self.pages().asked.push(Asked { at, key: key.to_owned(), order: order.clone() });
        Ok(())
    }

    fn note(&self, key: &str, id: String, told: Told) -> Result<()> {
        ensure!(!id.is_empty(), "an answer names no order");
        let mut pages = self.pages();
        // The answer is here: the recording is at least as far as what it rests on.
        let at = self.recording.position()?;
        pages.answers.push(Answered { at, key: key.to_owned(), id, told });
        Ok(())
    }
}

/// A careful customer: mostly orders that succeed; some of them are cancelled, some are declined, some refused at the pivot.
async fn shop(demo: Client, book: Arc<Book>, orders: usize, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..orders {
        let order = match random.random_range(0..10) {
            0 => order_of("case-chaos", 1, "pm_declined"),
            1 => order_of(amends::catalogue::REFUSED_AT_PIVOT, 1, "pm_ok"),
            _ => order_of("case-chaos", random.random_range(1..4), "pm_ok"),
        };
        let key = key();
        book.ask(&key, &order)?;
        let taken = |answer: &Answer| book.note(&key, order_in(answer), Told::Taken);
        let placed = until_answered(|| demo.place(&key, &order), taken).await?;
        let id = order_in(&placed);
        let is_confirmed = placed.status == 201;
        book.note(&key, id.clone(), if is_confirmed { Told::Confirmed } else { Told::Failed })?;
        book.placed.fetch_add(1, Ordering::SeqCst);
        if is_confirmed && random.random_bool(0.3) {
            let path = format!("/v1/orders/{id}/cancel");
            let cancelled = until_answered(|| demo.post(&path), |_| Ok(())).await?;
            ensure!(cancelled.text("/status") == "cancelled", "{} {}", cancelled.status, cancelled.body);
            book.note(&key, id, Told::Cancelled)?;
        }
    }
    Ok(())
}

/// The order that an answer names.
pub(super) fn order_in(answer: &Answer) -> String {
    answer.header("location").rsplit('/').next().unwrap_or_default().to_owned()
}

/// Asks the same again until there is a final answer. `taken` hears of answers that only say that an order is under way.
pub(super) async fn until_answered<F: Future<Output = Result<Answer>>>(
    ask: impl Fn() -> F,
    taken: impl Fn(&Answer) -> Result<()>,
) -> Result<Answer> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match ask().await {
            Ok(answer) if [200, 201, 402, 409].contains(&answer.status.as_u16()) => return Ok(answer),
            Ok(answer) if answer.status == 202 && !order_in(&answer).is_empty() => taken(&answer)?,
            // Not there, or not yet: asked again.
            Ok(answer) if [202, 502, 503, 504].contains(&answer.status.as_u16()) => {}
            Ok(answer) => bail!("{} {}", answer.status, answer.body),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("a customer was left without an answer for {PATIENCE:?}")
}
