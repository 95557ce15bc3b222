//! A download that goes on where its connection broke.

use std::io::{self, Read};
use std::time::Duration;

use super::client::{Client, Download};
use super::failure::Failure;

/// Attempts without a further byte before it is given up.
const ATTEMPTS: u32 = 5;
/// The pause before the first attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// The bytes of one content, whatever becomes of the connections that bring them.
pub(super) struct Resumed {
    client: Client,
    path: String,
    current: Download,
    read: u64,
    /// Attempts since the last byte.
    attempts: u32,
}

impl Resumed {
    /// Begins it.
    pub(super) fn begin(client: &Client, path: String) -> Result<Self, Failure> {
        Ok(Self {
            current: client.download(&path)?,
            client: client.clone(),
            path,
            read: 0,
            attempts: 0,
        })
    }

    /// In bytes, if the server says so.
    pub(super) fn length(&self) -> Option<u64> {
        self.current.length
    }

    /// Asks for the rest until there is an answer. `broken` is why; the last reason is the one that is told.
    fn take_up(&mut self, broken: io::Error) -> io::Result<()> {
        let (mut reason, tag) = (broken, self.current.tag.clone());
        let Some(tag) = tag else { return Err(reason) };
        while self.attempts < ATTEMPTS {
            std::thread::sleep(PAUSE * 2_u32.saturating_pow(self.attempts));
            self.attempts += 1;
            match self.client.download_rest(&self.path, &tag, self.read) {
                Ok(Some(rest)) => {
                    self.current = rest;
                    return Ok(());
                }
                Ok(None) => {
                    let changed = "the connection broke, and the content is another one by now (keys were taken away, or \
                                   could be had again); export anew";
                    return Err(io::Error::other(changed));
                }
                Err(failure) => reason = io::Error::other(failure.detail),
            }
        }
        let detail = format!(
            "broken off after {} bytes: {reason}; {ATTEMPTS} attempts to go on failed",
            self.read
        );
        Err(io::Error::new(reason.kind(), detail))
    }
}

impl Read for Resumed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.current.reader.read(buffer) {
                Ok(count) => {
                    self.read += count as u64;
                    if count > 0 {
                        self.attempts = 0;
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.take_up(error)?,
            }
        }
    }
}
