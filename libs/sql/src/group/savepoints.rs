//! A savepoint for each of several writes in one transaction, in as few round trips as there can be.

use crate::{SqlError, Tx};

/// Undoes single writes of a transaction: [`set`](Self::set) before each, [`keep`](Self::keep) after it, [`end`](Self::end) after the
/// last.
#[derive(Debug, Default)]
pub struct Savepoints {
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    None,
    /// What came after it is kept.
    Kept,
    /// The transaction is where it was set.
    Clean,
}

impl Savepoints {
    /// Sets one, before a write.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set(&mut self, tx: &mut Tx) -> Result<(), SqlError> {
        match self.state {
            State::None => tx.run_all(&["SAVEPOINT one"]).await?,
            State::Kept => tx.run_all(&["RELEASE SAVEPOINT one", "SAVEPOINT one"]).await?,
            State::Clean => {}
        }
        self.state = State::Clean;
        Ok(())
    }

    /// Keeps the write, or undoes it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep(&mut self, tx: &mut Tx, keep: bool) -> Result<(), SqlError> {
        if keep {
            self.state = State::Kept;
        } else {
            tx.run_all(&["ROLLBACK TO SAVEPOINT one"]).await?;
        }
        Ok(())
    }

    /// Takes the last one off.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(self, tx: &mut Tx) -> Result<(), SqlError> {
        match self.state {
            State::None => Ok(()),
            State::Kept | State::Clean => Ok(tx.run_all(&["RELEASE SAVEPOINT one"]).await?),
        }
    }
}
