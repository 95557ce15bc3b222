//! Limits that hold for callers and connections, whatever they ask for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Settings;
use crate::service::{Code, Error};

/// How often each API key may ask: a token bucket a key (GCRA).
pub(super) struct RateLimit {
    buckets: Option<DefaultKeyedRateLimiter<String>>,
    clock: DefaultClock,
}

impl RateLimit {
    pub(super) fn of(settings: &Settings) -> Self {
        let quota = NonZeroU32::new(settings.rate_limit).map(|rate| {
            let burst = NonZeroU32::new(settings.rate_burst).unwrap_or(rate);
            Quota::per_second(rate).allow_burst(burst)
        });
        Self {
            buckets: quota.map(DefaultKeyedRateLimiter::keyed),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request of a key that is known to be valid, so that there are no more buckets than keys.
    ///
    /// # Errors
    /// `rate_limited`, with the seconds to wait.
    pub(super) fn count(&self, key_id: &str) -> Result<(), Error> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        buckets.check_key(&key_id.to_owned()).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Error {
                retry_after: Some(seconds.max(1)),
                ..Error::new(
                    Code::RateLimited,
                    "this API key makes more requests a second than it may (rate_limit); slow down, and send events in batches",
                )
            }
        })
    }
}

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 2_048;

/// How long a request's body may take to arrive.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyTimeout(pub(super) Duration);

/// A listener whose connections are cut when a client leaves an answer unread for `write_timeout`: the kernel's own
/// limit (TCP_USER_TIMEOUT, Linux only), which connections inherit from their listener.
///
/// # Errors
/// If the address cannot be bound.
pub(super) fn listen(address: SocketAddr, write_timeout: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(write_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_asks_too_often_waits_and_others_do_not() {
        let limit = RateLimit::of(&Settings {
            rate_limit: 1,
            rate_burst: 3,
            ..Settings::default()
        });
        (0..3).for_each(|_| limit.count("a").unwrap());
        let refused = limit.count("a").unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(1)));
        limit.count("b").unwrap();
        let off = RateLimit::of(&Settings::default());
        (0..1_000).for_each(|_| off.count("a").unwrap());
    }
}
