//! `amends saga retry`, `resolve` and `cancel`: leaves a request with the saga, and waits until a replica has taken it up.

use std::time::Duration;

use amends_primitives::{Clock, SagaId, SystemClock};
use anyhow::{Context, bail};
use order_service::saga::Journal;
use saga_engine::journal::{Journal as _, Operator, OperatorRequest, Requested, Resolution, Wish};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{AskArgs, Fate, Told};

/// Between two looks at the row. A replica sees a request with its next heartbeat, a second or so later.
const LOOK: Duration = Duration::from_millis(200);

/// The wish to take a step as settled. A wrong name is found here, with the right ones, and not by a replica later.
pub(super) async fn resolve(
    journal: &Journal,
    id: SagaId,
    step: String,
    fate: Fate,
    output: Option<&str>,
) -> anyhow::Result<Wish> {
    let resolution = match fate {
        Fate::Undone if output.is_some() => bail!("--output belongs to --as done"),
        Fate::Undone => Resolution::Undone,
        Fate::Done => {
            let output: Value = output.map_or(Ok(Value::Null), serde_json::from_str).context("--output is not JSON")?;
            Resolution::Done { output }
        }
    };
    if let Some(stored) = journal.load(id).await.context("the order store could not be read")? {
        let timeline = saga_engine::timeline::Timeline::new(stored);
        let known: Vec<&str> = timeline.entries.iter().map(|entry| entry.step.as_str()).collect();
        if !known.contains(&step.as_str()) {
            bail!("the saga has tried no step --step {step}; it has tried: {}", known.join(", "));
        }
    }
    Ok(Wish::Resolve { step, resolution })
}

pub(super) async fn run(journal: &Journal, args: AskArgs, wish: Wish, json: bool) -> anyhow::Result<Told> {
    let AskArgs { id, who, why, wait } = args;
    if why.trim().is_empty() || who.trim().is_empty() {
        bail!("--who and --why are journaled for those who come after you, and must say something");
    }
    let request = OperatorRequest { operator: Operator { who, why }, wish, at: SystemClock.now() };
    let requested = journal.request(id, &request).await.context("the order store could not be asked")?;
    let (word, sentence, good) = match requested {
        Requested::Accepted => match taken_up(journal, id, &request, Duration::from_secs(wait)).await? {
            Some(state) => ("taken_up", format!("a replica has taken it up; the saga is {state}"), true),
            None => ("waiting", "no replica has taken it up yet; the request stays with the saga".to_owned(), true),
        },
        Requested::Busy => {
            ("busy", "another request is waiting; ask again when it has been taken up".to_owned(), false)
        }
        Requested::NotInStatus(status) => ("refused", format!("a saga that is {status} cannot be asked this"), false),
        Requested::NotFound => ("not_found", format!("there is no saga {id}"), false),
    };
    let text = if json {
        format!("{:#}\n", json!({"saga": id.to_string(), "result": word, "detail": sentence}))
    } else {
        format!("{sentence}\n")
    };
    Ok(if good { Told::good(text) } else { Told::bad(text) })
}

/// Where the saga is once a replica has journaled the request; none when that took longer than `patience`.
async fn taken_up(
    journal: &Journal,
    id: SagaId,
    request: &OperatorRequest,
    patience: Duration,
) -> anyhow::Result<Option<saga_engine::Status>> {
    let until = Instant::now() + patience;
    loop {
        let row = journal.row(id).await.context("the order store could not be read")?;
        match row {
            Some(row) if row.request.as_ref() != Some(request) => return Ok(Some(row.status)),
            _ if Instant::now() >= until => return Ok(None),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}
