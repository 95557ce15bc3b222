//! A hardware security module, or SoftHSM, over PKCS#11 (OASIS, v2.40 and later).
//!
//! One token, found by its label; one session, opened anew and logged in when an operation fails for want of one. Keys are
//! token objects, private, sensitive and not extractable, known by their label. Needed: `CKM_AES_KEY_GEN`, `CKM_AES_GCM`,
//! `CKM_GENERIC_SECRET_KEY_GEN`, `CKM_SHA256_HMAC`. The PIN is read when a session is opened and kept nowhere; once the
//! token has refused it, it is not tried again, so that no repetition locks the token. Out of scope: making a token, and
//! its copies (docs/operations.md).

use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::types::AuthPin;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::Secret;
use super::device::Device;
use crate::keystore::KeyStoreError;

const NONCE: usize = 12;
const TAG_BITS: u64 = 128;

/// Modules that are loaded: each is initialised once a process.
static MODULES: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

/// Where the PIN comes from, each time it is needed.
pub type PinSource = Box<dyn Fn() -> std::io::Result<Zeroizing<String>> + Send + Sync>;

/// A token.
pub struct Token {
    path: PathBuf,
    label: String,
    pin: PinSource,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    module: Option<Pkcs11>,
    session: Option<Session>,
    pin_refused: bool,
}

fn refusal(reason: impl Into<String>) -> KeyStoreError {
    KeyStoreError::Vault {
        reason: reason.into(),
        source: None,
    }
}

fn failed(what: &str) -> impl Fn(Error) -> KeyStoreError + '_ {
    move |error| refusal(format!("the HSM cannot {what}: {error}"))
}

/// Works in a session, and looks before and after that it is logged in. IMPORTANT: in one that is not, private keys cannot
/// be seen, and a key that is there would look destroyed.
fn logged_in<T>(session: &Session, work: impl Fn(&Session) -> Result<T, Error>) -> Result<T, Error> {
    let look = || match session.get_session_info()?.session_state() {
        SessionState::RwUser => Ok(()),
        _ => Err(Error::Pkcs11(RvError::UserNotLoggedIn, Function::GetSessionInfo)),
    };
    look()?;
    let done = work(session)?;
    look()?;
    Ok(done)
}

/// Whether an operation failed for what it was given, and not for want of a device.
fn is_about_data(error: &Error) -> bool {
    let of_data = [RvError::EncryptedDataInvalid, RvError::EncryptedDataLenRange];
    matches!(error, Error::Pkcs11(why, _) if of_data.contains(why))
}

fn told(what: &str) -> impl Fn(Error) -> KeyStoreError + '_ {
    move |error| {
        // SoftHSM's answer to a wrong tag. Here the session was opened anew and is logged in, so the device is there.
        let is_tag = matches!(error, Error::Pkcs11(RvError::GeneralError, Function::Decrypt));
        if is_tag || is_about_data(&error) {
            return KeyStoreError::Damaged("epoch master");
        }
        failed(what)(error)
    }
}

/// Loads and initialises a module, once.
fn load(path: &Path) -> Result<Pkcs11, KeyStoreError> {
    let mut modules = MODULES.lock();
    if let Some((_, module)) = modules.iter().find(|(known, _)| known == path) {
        return Ok(module.clone());
    }
    let unusable = |error: Error| refusal(format!("the PKCS#11 module {} cannot be used: {error}", path.display()));
    let module = Pkcs11::new(path).map_err(unusable)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(unusable(error)),
    }
    modules.push((path.to_owned(), module.clone()));
    Ok(module)
}

/// Ends a module, so that the next one who loads it begins anew.
fn unload(path: &Path, module: Pkcs11) {
    MODULES.lock().retain(|(known, _)| known != path);
    if let Err(error) = module.finalize() {
        tracing::warn!(%error, "the PKCS#11 module did not end well");
    }
}

impl Token {
    /// Finds the token and logs in.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`], naming module, token or PIN.
    pub fn open(module: &Path, label: &str, pin: PinSource) -> Result<Self, KeyStoreError> {
        let token = Self {
            path: module.to_owned(),
            label: label.to_owned(),
            pin,
            state: Mutex::default(),
        };
        token.with("be reached", |_| Ok(()))?;
        Ok(token)
    }

    fn log_in(&self, state: &mut State) -> Result<Session, KeyStoreError> {
        if state.pin_refused {
            return Err(refusal(
                "the HSM refused the PIN, and it is not tried again; mend it and restart",
            ));
        }
        let module = match &state.module {
            Some(module) => module.clone(),
            None => state.module.insert(load(&self.path)?).clone(),
        };
        let slots = module.get_slots_with_initialized_token();
        let slots = slots.map_err(failed("list its tokens"))?;
        let has_label = |slot: &_| {
            let info = module.get_token_info(*slot);
            info.is_ok_and(|info| info.label().trim_end() == self.label)
        };
        let slot = slots.into_iter().find(has_label);
        let slot = slot.ok_or_else(|| refusal(format!("there is no HSM token with the label {:?}", self.label)))?;
        let session = module.open_rw_session(slot).map_err(failed("open a session"))?;
        let pin = (self.pin)().map_err(|source| KeyStoreError::Vault {
            reason: "the PIN of the HSM cannot be read".to_owned(),
            source: Some(source),
        })?;
        match session.login(UserType::User, Some(&AuthPin::from(pin.as_str().to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => {
                let of_pin = [
                    RvError::PinIncorrect,
                    RvError::PinInvalid,
                    RvError::PinLenRange,
                    RvError::PinLocked,
                ];
                state.pin_refused = matches!(&error, Error::Pkcs11(why, _) if of_pin.contains(why));
                Err(failed("log in")(error))
            }
        }
    }

    /// Works in a session; in a fresh one if that fails, and then with a module that was begun anew: the device may have been
    /// away.
    fn with<T>(&self, what: &str, work: impl Fn(&Session) -> Result<T, Error>) -> Result<T, KeyStoreError> {
        let mut state = self.state.lock();
        if let Some(session) = state.session.take() {
            let done = logged_in(&session, &work);
            if done.is_ok() || done.as_ref().is_err_and(is_about_data) {
                state.session = Some(session);
                return done.map_err(told(what));
            }
        }
        match self.attempt(&mut state, what, &work) {
            Err(KeyStoreError::Vault { .. }) if !state.pin_refused => {
                if let Some(module) = state.module.take() {
                    state.session = None;
                    unload(&self.path, module);
                }
                self.attempt(&mut state, what, &work)
            }
            done => done,
        }
    }

    fn attempt<T>(
        &self,
        state: &mut State,
        what: &str,
        work: &impl Fn(&Session) -> Result<T, Error>,
    ) -> Result<T, KeyStoreError> {
        let session = self.log_in(state)?;
        let done = logged_in(&session, work).map_err(told(what))?;
        state.session = Some(session);
        Ok(done)
    }

    fn make(&self, name: &str, mechanism: &Mechanism<'_>, own: &[Attribute]) -> Result<(), KeyStoreError> {
        let mut template = vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::ValueLen(32.into()),
            Attribute::Label(name.as_bytes().to_vec()),
        ];
        template.extend_from_slice(own);
        let stays = self.with("make a key", |session| {
            // IMPORTANT: here, for this may run again after a session that was lost: what it made then must not stay.
            find(session, name)?
                .into_iter()
                .try_for_each(|key| session.destroy_object(key))?;
            let key = session.generate_key(mechanism, &template)?;
            let asked = [
                AttributeType::Sensitive,
                AttributeType::NeverExtractable,
                AttributeType::Token,
            ];
            let told = session.get_attributes(key, &asked)?;
            Ok([
                Attribute::Sensitive(true),
                Attribute::NeverExtractable(true),
                Attribute::Token(true),
            ]
            .iter()
            .all(|needed| told.contains(needed)))
        })?;
        if !stays {
            self.destroy(name)?;
            return Err(refusal(
                "the HSM made a key that could leave it, or would not outlive the session; it was destroyed",
            ));
        }
        Ok(())
    }

    /// Works with the one key of a name.
    fn with_key<T>(
        &self,
        what: &str,
        name: &str,
        work: impl Fn(&Session, ObjectHandle) -> Result<T, Error>,
    ) -> Result<T, KeyStoreError> {
        let done = self.with(what, |session| match find(session, name)?.as_slice() {
            [key] => work(session, *key).map(Ok),
            keys => Ok(Err(keys.len())),
        })?;
        done.map_err(|count| refusal(format!("the HSM holds {count} keys of a name that should have one")))
    }
}

fn find(session: &Session, name: &str) -> Result<Vec<ObjectHandle>, Error> {
    session.find_objects(&[
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(name.as_bytes().to_vec()),
    ])
}

impl Device for Token {
    fn make_key(&self, name: &str) -> Result<(), KeyStoreError> {
        let own = [
            Attribute::KeyType(KeyType::AES),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        self.make(name, &Mechanism::AesKeyGen, &own)
    }

    fn holds(&self, name: &str) -> Result<bool, KeyStoreError> {
        self.with("look for a key", |session| Ok(!find(session, name)?.is_empty()))
    }

    fn make_root(&self, name: &str) -> Result<(), KeyStoreError> {
        let own = [Attribute::KeyType(KeyType::GENERIC_SECRET), Attribute::Sign(true)];
        self.make(name, &Mechanism::GenericSecretKeyGen, &own)
    }

    fn encrypt(&self, name: &str, nonce: [u8; NONCE], aad: &[u8], secret: &[u8; 32]) -> Result<Vec<u8>, KeyStoreError> {
        self.with_key("wrap", name, |session, key| {
            let mut nonce = nonce;
            let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, aad, TAG_BITS.into())?);
            let sealed = session.encrypt(&gcm, key, secret)?;
            // A module that makes nonces of its own has written it there.
            Ok([nonce.as_slice(), &sealed].concat())
        })
    }

    fn decrypt(&self, name: &str, aad: &[u8], wrapped: &[u8]) -> Result<Secret, KeyStoreError> {
        let damaged = || KeyStoreError::Damaged("epoch master");
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        if sealed.len() != 48 {
            return Err(damaged());
        }
        let opened = self.with_key("unwrap", name, |session, key| {
            let mut nonce = *nonce;
            let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, aad, TAG_BITS.into())?);
            session.decrypt(&gcm, key, sealed).map(Zeroizing::new)
        })?;
        secret(&opened).ok_or_else(damaged)
    }

    fn mac(&self, name: &str, text: &[u8]) -> Result<Secret, KeyStoreError> {
        let mac = self.with_key("compute a MAC", name, |session, key| {
            session.sign(&Mechanism::Sha256Hmac, key, text).map(Zeroizing::new)
        })?;
        secret(&mac).ok_or_else(|| refusal("the HSM gave a MAC of another length than HMAC-SHA-256 has"))
    }

    fn destroy(&self, name: &str) -> Result<(), KeyStoreError> {
        let left = self.with("destroy a key", |session| {
            find(session, name)?
                .into_iter()
                .try_for_each(|key| session.destroy_object(key))?;
            Ok(find(session, name)?.len())
        })?;
        if left == 0 {
            Ok(())
        } else {
            Err(refusal("the HSM still holds a key that it destroyed"))
        }
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        self.with("list its keys", |session| {
            let of = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true)];
            let mut names = Vec::new();
            for key in session.find_objects(&of)? {
                for attribute in session.get_attributes(key, &[AttributeType::Label])? {
                    if let Attribute::Label(label) = attribute {
                        names.extend(String::from_utf8(label).ok());
                    }
                }
            }
            names.retain(|name| name.starts_with(prefix));
            Ok(names)
        })
    }
}

fn secret(bytes: &[u8]) -> Option<Secret> {
    bytes.try_into().ok().map(Secret::new)
}

#[cfg(test)]
#[allow(dead_code, reason = "these tests use their part of it")]
#[path = "../../../tests/support/softhsm.rs"]
pub(crate) mod softhsm;
#[cfg(test)]
mod tests;
