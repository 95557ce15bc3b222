//! Secret memory: an arena of 32-byte slots for the keys that the key store holds in clear.
//!
//! Slabs are anonymous, page-aligned mappings: locked (`mlock`, so they never reach swap), left out of core dumps
//! (`MADV_DONTDUMP`), absent from forked children (`MADV_DONTFORK`: a child that touches them dies, where a wiped page
//! would have it seal under zeros). A slot is zeroized when it is freed, and before its bytes are lent again. Where the
//! limit on locked memory forbids locking, the arena still works and says how much of it is unlocked.
//!
//! Invariants: a slot has one owner; slabs are unmapped only when arena and slots are all gone; the number of slabs
//! follows the caches above, which are bounded. Out of scope: registers and stacks (the ciphers zeroize their own
//! schedules), and a kernel or debugger that reads the process.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;
use zeroize::Zeroize;

use crate::spec::seal::SubjectKey;

/// Bytes in a slot.
const SLOT: usize = 32;

/// Bytes in a slab: 2,048 slots, and a multiple of every page size in use.
const SLAB: usize = 64 * 1024;

/// Hands out slots of secret memory.
#[derive(Debug, Default)]
pub struct Arena {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slabs: Vec<Slab>,
    free: Vec<Place>,
}

/// The address of a free slot within a slab of the same arena.
#[derive(Debug, Clone, Copy)]
struct Place(NonNull<[u8; SLOT]>);

#[allow(unsafe_code, reason = "a raw address is not Send by itself")]
// SAFETY: a `Place` is only an address; it is dereferenced by the one `Secret32` made from it.
unsafe impl Send for Place {}

impl Arena {
    /// An empty arena. Raises the soft limit on locked memory to the hard one first.
    pub fn new() -> Arc<Self> {
        raise_locked_memory_limit();
        Arc::default()
    }

    /// A slot filled with zeros.
    ///
    /// # Errors
    /// If the system gives no more memory.
    pub fn take(self: &Arc<Self>) -> io::Result<Secret32> {
        let mut state = self.state.lock();
        if state.free.is_empty() {
            let slab = Slab::map()?;
            // Last slot first, so that slots are handed out in ascending order.
            state
                .free
                .extend((0..SLAB / SLOT).rev().filter_map(|slot| slab.place(slot)));
            state.slabs.push(slab);
        }
        let place = state.free.pop().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Secret32 {
            place,
            arena: Arc::clone(self),
        })
    }

    /// A slot that holds a copy of `bytes`.
    ///
    /// # Errors
    /// As [`Arena::take`].
    pub fn keep(self: &Arc<Self>, bytes: &[u8; SLOT]) -> io::Result<Secret32> {
        let mut slot = self.take()?;
        slot.copy_from_slice(bytes);
        Ok(slot)
    }

    /// Bytes of secret memory that could not be locked and might reach swap. 0 is what an operator wants to see.
    pub fn unlocked_bytes(&self) -> usize {
        self.state.lock().slabs.iter().filter(|slab| !slab.locked).count() * SLAB
    }

    /// Bytes of secret memory mapped.
    pub fn mapped_bytes(&self) -> usize {
        self.state.lock().slabs.len() * SLAB
    }
}

/// 32 secret bytes in an [`Arena`]; zeroized when dropped.
pub struct Secret32 {
    place: Place,
    arena: Arc<Arena>,
}

impl Secret32 {
    /// The bytes as a subject key, in place.
    #[allow(
        unsafe_code,
        reason = "a reference to the array is a reference to the key: no copy leaves the arena"
    )]
    pub fn as_subject_key(&self) -> &SubjectKey {
        let bytes: &[u8; SLOT] = self;
        // SAFETY: `SubjectKey` is `repr(transparent)` over `[u8; 32]`. Only a shared reference is made, so its `Drop`
        // never runs here, and the reference cannot outlive `self`.
        unsafe { &*std::ptr::from_ref(bytes).cast::<SubjectKey>() }
    }
}

impl Deref for Secret32 {
    type Target = [u8; SLOT];

    #[allow(unsafe_code, reason = "reads the slot")]
    fn deref(&self) -> &[u8; SLOT] {
        // SAFETY: the address lies in a slab that `self.arena` keeps mapped; it is owned by `self` alone.
        unsafe { self.place.0.as_ref() }
    }
}

impl DerefMut for Secret32 {
    #[allow(unsafe_code, reason = "writes the slot")]
    fn deref_mut(&mut self) -> &mut [u8; SLOT] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { self.place.0.as_mut() }
    }
}

impl Drop for Secret32 {
    fn drop(&mut self) {
        self.zeroize();
        self.arena.state.lock().free.push(self.place);
    }
}

impl std::fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret32(..)")
    }
}

#[allow(unsafe_code, reason = "the address is owned")]
// SAFETY: a `Secret32` owns its 32 bytes as a `Box` would; the arena behind it is `Sync`.
unsafe impl Send for Secret32 {}

#[allow(unsafe_code, reason = "shared access is read-only")]
// SAFETY: `&Secret32` gives only `&[u8; 32]`.
unsafe impl Sync for Secret32 {}

#[derive(Debug)]
struct Slab {
    start: NonNull<u8>,
    locked: bool,
}

#[allow(unsafe_code, reason = "the address is owned")]
// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Slab {}

impl Slab {
    #[allow(unsafe_code, reason = "mmap, mlock and madvise have no safe wrapper in std")]
    fn map() -> io::Result<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new anonymous mapping aliases nothing; failure is checked below.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), SLAB, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range was mapped just now. Neither call changes its content; a refusal is counted, not fatal.
        let locked = unsafe {
            libc::madvise(start, SLAB, libc::MADV_DONTDUMP);
            libc::madvise(start, SLAB, libc::MADV_DONTFORK);
            libc::mlock(start, SLAB) == 0
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, locked })
    }

    #[allow(unsafe_code, reason = "computes the address of a slot")]
    fn place(&self, slot: usize) -> Option<Place> {
        let offset = slot.checked_mul(SLOT).filter(|offset| offset + SLOT <= SLAB)?;
        // SAFETY: the offset lies within the mapping (checked above).
        Some(Place(unsafe { self.start.add(offset).cast() }))
    }
}

impl Drop for Slab {
    #[allow(unsafe_code, reason = "munmap has no safe wrapper in std")]
    fn drop(&mut self) {
        // SAFETY: the slab is dropped with its arena, which every slot keeps alive: no slot refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), SLAB) };
    }
}

/// Keeps secrets out of core dumps and away from debuggers of the same user: `RLIMIT_CORE` 0, `PR_SET_DUMPABLE` 0.
///
/// # Errors
/// The system's, if it refuses either.
#[allow(unsafe_code, reason = "setrlimit and prctl have no safe wrapper in std")]
pub fn harden_process() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` is a valid rlimit for the duration of the call; prctl takes integers only.
    let refused = unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none) != 0
            || libc::prctl(libc::PR_SET_DUMPABLE, 0_u64, 0_u64, 0_u64, 0_u64) != 0
    };
    if refused {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[allow(unsafe_code, reason = "getrlimit and setrlimit have no safe wrapper in std")]
fn raise_locked_memory_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid, writable rlimit. A refusal leaves the limit as it was: slabs then count as unlocked.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_is_zeroized_before_it_is_lent_again() {
        let arena = Arena::new();
        let first = arena.keep(&[7; 32]).unwrap();
        let place = first.place.0;
        assert_eq!(first.as_subject_key().expose(), &[7; 32]);
        drop(first);
        let again = arena.take().unwrap();
        assert_eq!((again.place.0, *again), (place, [0; 32]));
    }

    #[test]
    fn slots_do_not_overlap_and_slabs_grow_with_use() {
        let arena = Arena::new();
        let slots: Vec<_> = (0..5_000_u32)
            .map(|n| (n, arena.keep(&[n as u8; 32]).unwrap()))
            .collect();
        assert!(slots.iter().all(|(n, slot)| **slot == [*n as u8; 32]));
        assert_eq!(arena.mapped_bytes(), 3 * SLAB);
        assert!(arena.unlocked_bytes() <= arena.mapped_bytes());
        drop(slots);
        let _again: Vec<_> = (0..5_000).map(|_| arena.take().unwrap()).collect();
        assert_eq!(arena.mapped_bytes(), 3 * SLAB, "freed slots are used again");
    }

    #[test]
    fn a_hardened_process_dumps_no_core() {
        harden_process().unwrap();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    }

    #[test]
    fn slots_outlive_the_callers_arena_and_move_between_threads() {
        let slot = Arena::new().keep(&[9; 32]).unwrap();
        assert_eq!(std::thread::spawn(move || *slot).join().unwrap(), [9; 32]);
    }
}
