//! A transaction, on a connection of its own.

use std::ops::{Deref, DerefMut};

use crate::Connection;

/// An open transaction. Statements run on `&mut *tx`. Dropping it rolls back.
///
/// After a failure that may have ended it (SQLite rolls back by itself on a full disk, for one) it refuses further statements, which
/// would otherwise each be committed alone.
#[derive(Debug)]
pub struct Tx(Connection);

impl Tx {
    pub(crate) async fn begin(mut connection: Connection, statement: &'static str) -> Result<Self, sqlx::Error> {
        connection.begin(statement).await?;
        Ok(Self(connection))
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// When the database fails, or failed earlier in this transaction. Whether it was committed is then unknown, unless the error is
    /// one of an earlier failure. The connection is not used again.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.0.commit().await
    }

    /// Undoes it.
    ///
    /// # Errors
    /// When the database fails; closing the connection then undoes it.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.0.roll_back().await
    }
}

impl Deref for Tx {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
