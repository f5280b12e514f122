//! What spreads jobs in time: a number that stays the same for one job of one installation.
//!
//! It is no source of randomness and nothing secret may rest on it. What is easy to get wrong: the number must be
//! equal in every replica, on every platform and after every upgrade, or replicas would plan different times for
//! one job; hence a hash written out here instead of the standard library's, which promises none of that.

use jiff::SignedDuration;
use uuid::Uuid;

/// Identifies a job of an installation when something is to be spread: jitter, and `H` in cron patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The seed of the job named `job` in the installation `install` (`sexton.meta.install_id`).
    pub fn new(install: Uuid, job: &str) -> Self {
        Seed(fnv1a(fnv1a(FNV_OFFSET, install.as_bytes()), job.as_bytes()))
    }

    /// The job's share of `max`: from zero up to, but not including, `max`; zero if `max` is not positive.
    ///
    /// To be added to when a job is tried (`due_at`), never to the occurrence itself. Whole microseconds.
    pub fn jitter(&self, max: SignedDuration) -> SignedDuration {
        let bound = u64::try_from(max.as_micros()).unwrap_or(0);
        SignedDuration::from_micros(i64::try_from(self.pick("jitter", bound)).unwrap_or(0))
    }

    /// A number below `bound` (zero for zero), independent of that for another `purpose`.
    pub(super) fn pick(&self, purpose: &str, bound: u64) -> u64 {
        let hash = mixed(fnv1a(self.0, purpose.as_bytes()));
        let scaled = (u128::from(hash) * u128::from(bound)) >> 64;
        u64::try_from(scaled).expect("a share of a u64 is a u64")
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a with 64 bits.
fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// Spreads the last bytes over all bits (MurmurHash3's finalizer): FNV alone leaves the high bits of names that
/// differ in their last letter nearly equal, and the high bits are those that scaling uses.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
