//! The Security Token Service: users, clients, keys, tokens and revocation.
