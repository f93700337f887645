//! Power cuts. The program is recorded while it starts, takes orders, is stopped, killed and started again; then the power fails at many
//! moments of that recording, each time with another part of what was not synced on the disk.
//!
//! The same recording on a disk that lies about its syncs must lose answers: otherwise this test would find nothing either.

mod recording;

use std::{path::Path, time::Instant};

use amends_sql::claim::find_torn;
use amends_tests::{
    announce, direct,
    kit::power::{Image, Lies, Luck, put_into},
    platform::{Platform, Setup, Start},
    setting,
};
use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IteratorRandom as _};

use self::recording::{Known, PATIENCE, Story, order_in, record, until_answered};
use crate::support::{confirmed, sound};

const TEST: &str = "power cuts";
/// So many of the last orders before a cut are asked for again after it: more than customers can have under way.
const ASKED_AGAIN: usize = 12;
/// Cuts of each disk that lies.
const LIES: usize = 24;

/// How much is recorded, and how often the power fails.
struct Size {
    /// Orders of each customer in each of three parts of the recording.
    orders: usize,
    /// During the first start. On all of them the program is started.
    first_start: usize,
    /// Anywhere.
    anywhere: usize,
    /// Right after an answer.
    after_answers: usize,
    /// On so many of the latter two the program is started.
    starts: usize,
}

pub(crate) async fn a_power_cut_loses_no_answer() -> Result<()> {
    fails(&Size { orders: 4, first_start: 2, anywhere: 24, after_answers: 24, starts: 3 }).await
}

/// `AMENDS_CHAOS_ROUNDS` of them.
pub(crate) async fn hundreds_of_power_cuts_lose_no_answer() -> Result<()> {
    let rounds = setting("AMENDS_CHAOS_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    let (first_start, after_answers) = (rounds / 16, rounds / 2);
    let anywhere = rounds - first_start - after_answers;
    fails(&Size { orders: 15, first_start, anywhere, after_answers, starts: rounds / 10 }).await
}

async fn fails(size: &Size) -> Result<()> {
    let seed = setting("AMENDS_CHAOS_SEED").and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let begun = Instant::now();
    let Some(story) = record(TEST, size.orders, &mut random).await? else { return Ok(()) };
    let extent = story.recorded.extent()?;
    announce(&format!(
        "{TEST}: AMENDS_CHAOS_SEED={seed}, {} answers in {} writes and {} syncs, recorded in {:.1} s",
        story.answers.len(),
        extent.writes,
        extent.syncs,
        begun.elapsed().as_secs_f64()
    ));
    let begun = Instant::now();
    let with_seed = || format!("{extent:?}, seed {seed}");
    honest(size, &story, &mut random).await.with_context(with_seed)?;
    lying(&story, &mut random).await.with_context(with_seed)?;
    announce(&format!("{TEST}: {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

struct Cut {
    at: u64,
    luck: Luck,
    /// Whether the program is started on what is left.
    starts: bool,
}

fn cuts_of(size: &Size, story: &Story, random: &mut StdRng) -> Result<Vec<Cut>> {
    let end = u64::try_from(story.recorded.extent()?.bytes)?;
    let mut places: Vec<(u64, f64)> = (0..size.anywhere).map(|_| (random.random_range(0..=end), 0.2)).collect();
    let after = story.answers.iter().choose_multiple(random, size.after_answers);
    places.extend(after.into_iter().map(|answer| (answer.at, 0.5)));
    let started = (0..places.len()).choose_multiple(random, size.starts);
    let luck = |random: &mut StdRng, nothing| if random.random_bool(nothing) { Luck::Nothing } else { Luck::Some };
    let mut cuts: Vec<Cut> = places
        .into_iter()
        .enumerate()
        .map(|(number, (at, nothing))| Cut { at, luck: luck(random, nothing), starts: started.contains(&number) })
        .collect();
    for _ in 0..size.first_start {
        cuts.push(Cut { at: random.random_range(0..story.first_answer()), luck: luck(random, 0.2), starts: true });
    }
    cuts.sort_by_key(|cut| cut.at);
    Ok(cuts)
}

/// No disk loses what it has said that it has.
async fn honest(size: &Size, story: &Story, random: &mut StdRng) -> Result<()> {
    let cuts = cuts_of(size, story, random)?;
    let places: Vec<(u64, Luck)> = cuts.iter().map(|cut| (cut.at, cut.luck)).collect();
    let (mut rest, mut checked, mut again) = (cuts.iter(), 0, 0);
    story
        .recorded
        .cut_at(&places, Lies::Never, random, async |at, _, image| {
            let known = story.known_at(at);
            checked += known.told.len();
            opens(&image, &known).await?;
            if rest.next().is_some_and(|cut| cut.starts) {
                again += starts_again(&image, &known).await?;
            }
            Ok(())
        })
        .await?;
    announce(&format!(
        "{TEST}: {} of them, {} started on; {checked} answers looked up, none lost; {again} requests repeated",
        cuts.len(),
        cuts.iter().filter(|cut| cut.starts).count()
    ));
    Ok(())
}

/// A disk that pretends to sync loses answers, and is found out.
async fn lying(story: &Story, random: &mut StdRng) -> Result<()> {
    for lies in [Lies::AboutLogs, Lies::AboutFiles] {
        let after = story.answers.iter().choose_multiple(random, LIES);
        let mut cuts: Vec<(u64, Luck)> = after.into_iter().map(|answer| (answer.at, Luck::Nothing)).collect();
        cuts.sort_by_key(|(at, _)| *at);
        let mut losses = Vec::new();
        story
            .recorded
            .cut_at(&cuts, lies, random, async |at, _, image| {
                losses.extend(opens(&image, &story.known_at(at)).await.err().map(|loss| format!("{loss:#}")));
                Ok(())
            })
            .await?;
        let first = losses.first().map(|loss| loss.lines().take(2).collect::<Vec<_>>().join(" ")).unwrap_or_default();
        announce(&format!("{TEST}, {lies:?}: {} of {} are found out; {first}", losses.len(), cuts.len()));
        // Of a store that is empty the rows cannot say what is missing.
        let lost = losses.iter().any(|loss| loss.contains("is gone")) || lies == Lies::AboutFiles;
        ensure!(lost && !losses.is_empty(), "{lies:?}: no answer is missed: {first}");
    }
    Ok(())
}

/// Opens every store, and looks every answer up.
async fn opens(image: &Image, known: &Known<'_>) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("amends-cut-").tempdir()?;
    put_into(dir.path(), image)?;
    let paths = image.keys().map(|name| dir.path().join(name));
    for store in paths.filter(|path| path.extension().is_some_and(|extension| extension == "db")) {
        let torn = find_torn(&store).await?;
        ensure!(torn.is_none(), "a power cut passes for a copy: {torn:?}");
    }
    direct::whole(dir.path()).await?;
    if !known.told.is_empty() {
        direct::still_true(dir.path(), &known.told).await?;
    }
    Ok(())
}

/// Starts the program on it: what was under way settles, the books balance, customers who ask again are answered as before, and it takes
/// orders. Says how many asked again.
async fn starts_again(image: &Image, known: &Known<'_>) -> Result<usize> {
    let dir = tempfile::Builder::new().prefix("amends-cut-").tempdir()?;
    put_into(dir.path(), image)?;
    let done = started(dir.path(), known).await;
    if done.is_err() {
        let kept = tempfile::Builder::new().prefix("amends-cut-before-").tempdir()?.keep();
        put_into(&kept, image)?;
        announce(&format!(
            "{TEST}: what the disk held is kept in {}, and what came of it in {}",
            kept.display(),
            dir.keep().display()
        ));
    }
    done
}

async fn started(data: &Path, known: &Known<'_>) -> Result<usize> {
    let mut platform = Platform::embedded_unstarted(Setup { data: Some(data.to_owned()), ..Setup::default() })?;
    if !known.told.is_empty() {
        platform.amends(&["doctor", "--full"]).await?.map_err(|said| anyhow::anyhow!("the doctor found: {said}"))?;
    }
    let start = platform.try_start("amends", PATIENCE).await?;
    ensure!(matches!(start, Start::Ready), "it does not start: {start:?}");
    let well = async {
        sound(&platform).await?;
        direct::still_true(data, &known.told).await?;
        let again = asked_again(&platform, known).await?;
        confirmed(&platform.demo().await?).await?;
        sound(&platform).await?;
        direct::still_true(data, &known.told).await?;
        Ok::<_, anyhow::Error>(again)
    };
    let again = well.await.with_context(|| platform.logs())?;
    platform.stop().await?;
    Ok(again)
}

/// Customers who had no answer, or do not know any more, ask again under their keys. A customer who had an answer gets the same order.
async fn asked_again(platform: &Platform, known: &Known<'_>) -> Result<usize> {
    let demo = platform.demo().await?;
    let last = known.asked.len().saturating_sub(ASKED_AGAIN);
    for asked in &known.asked[last..] {
        let answer = until_answered(|| demo.place(&asked.key, &asked.order), |_| Ok(())).await?;
        let (id, before) = (order_in(&answer), known.order_of_key.get(asked.key.as_str()));
        ensure!(
            before.is_none_or(|before| *before == id),
            "{} was answered with order {before:?}, and now with {id}: {} {}",
            asked.key,
            answer.status,
            answer.body
        );
    }
    Ok(known.asked.len() - last)
}
