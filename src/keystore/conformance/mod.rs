//! What every engine of [`KeyStore`](super::KeyStore) and [`Vault`](super::vault::Vault) must do, as functions to run
//! against it. Engines' own tests add what only their files can show.

pub(crate) mod keystore;
pub(crate) mod life;
pub(crate) mod trial;
pub(crate) mod vault;
