//! One SQL store, two dialects: pools, transactions and migrations for SQLite and PostgreSQL.
