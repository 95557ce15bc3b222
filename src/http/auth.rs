//! Who may: permissions as types. A handler's first argument is a [`Permission`], its second says what it reads of the query
//! ([`Asked`]), or it cannot be routed.

use std::collections::HashSet;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, Handler, HttpRequest, Responder, Route, guard, web};

use super::limits::RateLimit;
use super::observe;
use super::problem::Problem;
use crate::service::{Caller, Code, Error, Ledger, Role, Service};
use crate::spec::ids::LedgerName;

/// A set of roles, any of which suffices.
pub(super) trait Roles: 'static {
    /// The roles.
    const ANY_OF: &'static [Role];
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident = $($role:ident)|+;)*) => {
        $($(#[$doc])* #[derive(Debug)] pub(super) struct $name;
        impl Roles for $name { const ANY_OF: &'static [Role] = &[$(Role::$role),+]; })*
    };
}

roles! {
    /// May append.
    Writer = Writer;
    /// May read.
    Reader = Reader;
    /// May read the log's hashes and proofs.
    LogReader = Reader | Auditor;
    /// May verify and export.
    Auditor = Auditor;
    /// May erase.
    Officer = Officer;
    /// May look erasures up, and make reports.
    ErasureReader = Officer | Auditor;
    /// May rotate keys.
    KeyKeeper = Officer | Admin;
    /// May make ledgers and keys.
    Admin = Admin;
    /// Any valid key.
    AnyKey = Writer | Reader | Revealer | Auditor | Officer | Admin;
}

/// Something that a handler must hold before it acts.
pub(super) trait Permission: FromRequest {}

/// Everybody.
pub(super) struct Public {
    pub(super) service: Arc<Service>,
}

/// A caller with one of the roles, on the store as a whole.
pub(super) struct OnStore<R> {
    pub(super) service: Arc<Service>,
    pub(super) caller: Caller,
    roles: PhantomData<R>,
}

/// A caller with one of the roles on the ledger of the path.
pub(super) struct On<R> {
    pub(super) service: Arc<Service>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) caller: Caller,
    roles: PhantomData<R>,
}

/// Whoever may see the metrics: an admin, or everybody where the settings say so.
pub(super) struct Scraper {
    pub(super) service: Arc<Service>,
}

/// Whoever may read the hashes of the ledger of the path: its readers and auditors, or everybody where the settings publish
/// its log.
pub(super) struct OnLog {
    pub(super) service: Arc<Service>,
    pub(super) ledger: Arc<Ledger>,
    /// Whether everybody may.
    pub(super) is_public: bool,
}

/// The ledgers whose hashes and checkpoints everybody may read.
#[derive(Debug, Clone)]
pub(super) struct PublicLogs(pub(super) Arc<HashSet<LedgerName>>);

/// Whether everybody may see the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct MetricsPublic(pub(super) bool);

impl<R: 'static> On<R> {
    /// Runs work that may wait for the disk off the server's threads.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service, &Ledger) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(self.service.blocking(&self.ledger, work).await?)
    }

    /// Asks for one more role.
    pub(super) fn also(&self, role: Role) -> Result<(), Problem> {
        Ok(self.caller.require(&[role], Some(&self.ledger.record.name))?)
    }
}

/// Runs work off the server's threads, with the id of the request in what it logs.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let span = tracing::Span::current();
    let done = web::block(move || span.in_scope(work)).await;
    done.map_err(|error| Error::new(Code::Internal, error.to_string()))
}

/// What a route asks of its query: the parameters of a [`web::Query`], or [`NoQuery`].
pub(super) trait Asked: FromRequest {}

/// A route without parameters: any is refused, as unknown ones are elsewhere.
#[derive(Debug)]
pub(super) struct NoQuery;

impl<T: serde::de::DeserializeOwned> Asked for web::Query<T> {}
impl Asked for NoQuery {}

impl FromRequest for NoQuery {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let refused = || Problem(Error::field("query", "this route takes no parameters"));
        ready(request.query_string().is_empty().then_some(Self).ok_or_else(refused))
    }
}

impl Permission for Public {}
impl Permission for Scraper {}
impl Permission for OnLog {}
impl<R: Roles> Permission for OnStore<R> {}
impl<R: Roles> Permission for On<R> {}

fn service(request: &HttpRequest) -> Result<Arc<Service>, Error> {
    let service = request.app_data::<web::Data<Service>>();
    let service = service.ok_or_else(|| Error::new(Code::Internal, "the server is not set up"))?;
    Ok(Arc::clone(service))
}

fn caller(service: &Service, request: &HttpRequest) -> Result<Caller, Error> {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let key = header
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, key) = key.ok_or_else(|| {
        Error::new(
            Code::Unauthenticated,
            "this route needs an API key: send `Authorization: Bearer obl_…`",
        )
    })?;
    let caller = service.authenticate(key.trim())?;
    observe::remember(request, &caller);
    if let Some(limit) = request.app_data::<web::Data<RateLimit>>() {
        limit.count(&caller.key.id)?;
    }
    Ok(caller)
}

impl FromRequest for Public {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(service(request).map(|service| Self { service }).map_err(Problem))
    }
}

impl FromRequest for Scraper {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready((|| {
            let service = service(request)?;
            if !request.app_data::<MetricsPublic>().is_some_and(|public| public.0) {
                caller(&service, request)?.require(Admin::ANY_OF, None)?;
            }
            Ok(Self { service })
        })())
    }
}

impl<R: Roles> FromRequest for OnStore<R> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready((|| {
            let service = service(request)?;
            let caller = caller(&service, request)?;
            caller.require(R::ANY_OF, None)?;
            Ok(Self {
                service,
                caller,
                roles: PhantomData,
            })
        })())
    }
}

impl<R: Roles> FromRequest for On<R> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready((|| {
            let service = service(request)?;
            let caller = caller(&service, request)?;
            let name = request.match_info().get("ledger").unwrap_or_default();
            let unknown = || Error::new(Code::LedgerNotFound, "there is no such ledger");
            let name: LedgerName = name.parse().map_err(|_| unknown())?;
            // The role first: who may do nothing learns nothing about which ledgers there are.
            caller.require(R::ANY_OF, Some(&name))?;
            let ledger = service.ledger(&name)?;
            Ok(Self {
                service,
                ledger,
                caller,
                roles: PhantomData,
            })
        })())
    }
}

impl FromRequest for OnLog {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if let Some((service, ledger)) = published(request) {
            return ready(Ok(Self {
                service,
                ledger,
                is_public: true,
            }));
        }
        // A name that is published but not there is refused as every other, so that nobody learns which there are.
        ready(
            On::<LogReader>::from_request(request, payload)
                .into_inner()
                .map(|on| Self {
                    service: on.service,
                    ledger: on.ledger,
                    is_public: false,
                }),
        )
    }
}

/// The ledger of the path, if its log is public.
fn published(request: &HttpRequest) -> Option<(Arc<Service>, Arc<Ledger>)> {
    let name: LedgerName = request.match_info().get("ledger")?.parse().ok()?;
    let PublicLogs(names) = request.app_data::<PublicLogs>()?;
    let service = service(request).ok().filter(|_| names.contains(&name))?;
    let ledger = service.ledger(&name).ok()?;
    Some((service, ledger))
}

/// Arguments that begin with a permission and with what is asked of the query.
pub(super) trait Guarded {}

impl<P: Permission, Q: Asked> Guarded for (P, Q) {}
impl<P: Permission, Q: Asked, A> Guarded for (P, Q, A) {}
impl<P: Permission, Q: Asked, A, B> Guarded for (P, Q, A, B) {}
impl<P: Permission, Q: Asked, A, B, C> Guarded for (P, Q, A, B, C) {}

macro_rules! method {
    ($(#[$doc:meta])* $name:ident, $route:expr) => {
        $(#[$doc])*
        pub(super) fn $name<F, Args>(handler: F) -> Route
        where
            F: Handler<Args>,
            Args: FromRequest + Guarded + 'static,
            F::Output: Responder + 'static,
        {
            $route.to(handler)
        }
    };
}

method!(
    /// A guarded GET, and HEAD: the same answer without its body.
    get,
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
);
method!(
    /// A guarded POST.
    post,
    web::post()
);
method!(
    /// A guarded DELETE.
    delete,
    web::delete()
);
