//! How a DNS view behaves, and what it counted.

use std::net::IpAddr;
use std::time::Duration;

/// What a view does with questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answers with what is registered.
    Normal,
    /// Answers for ever with what was visible when this mode was set.
    Stale,
    /// NOERROR without any record.
    Empty,
    /// NXDOMAIN.
    NxDomain,
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// No answer at all.
    Silent,
}

/// What a service without any visible registration answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unregistered {
    /// The name does not exist.
    NxDomain,
    /// The name exists and has no records.
    NoRecords,
}

/// Who shares a cached answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every client address has its own.
    Client,
    /// All clients of the view.
    View,
}

/// The behaviour of a view; every field may be changed at any moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// What it does with questions.
    pub mode: Mode,
    /// Most records in one answer; a larger set is answered by a random choice per question.
    /// Cloud Map: 8.
    pub max_answers: usize,
    /// Time to live written into records, in whole seconds. A label only: nothing here expires by
    /// it (see `positive_cache`).
    pub ttl: Duration,
    /// Negative time to live written into the SOA record, in whole seconds. A label only.
    pub negative_ttl: Duration,
    /// How long a registration stays invisible.
    pub appear_after: Duration,
    /// How long a deregistered task stays visible.
    pub vanish_after: Duration,
    /// After an answer with records: how long the same question gets the same answer.
    pub positive_cache: Option<Duration>,
    /// After NXDOMAIN or an answer without records: how long the same question gets the same.
    pub negative_cache: Option<Duration>,
    /// Who shares cached answers. Clients that do not bind an address of their own all come from
    /// one loopback address.
    pub cache_scope: Scope,
    /// Addresses of others, answered like registered ones (and named `foreign-N.<service>`).
    pub foreign: Vec<IpAddr>,
    /// What an empty service answers.
    pub unregistered: Unregistered,
    /// Answers by UDP are always cut to nothing, so that clients must come back by TCP.
    pub truncate: bool,
}

impl Default for Behaviour {
    /// Cloud Map with every setting as deployed and no delay: 8 answers, 10 s, SOA 5 s, no caches.
    fn default() -> Self {
        Self {
            mode: Mode::Normal,
            max_answers: 8,
            ttl: Duration::from_secs(10),
            negative_ttl: Duration::from_secs(5),
            appear_after: Duration::ZERO,
            vanish_after: Duration::ZERO,
            positive_cache: None,
            negative_cache: None,
            cache_scope: Scope::View,
            foreign: Vec::new(),
            unregistered: Unregistered::NxDomain,
            truncate: false,
        }
    }
}

impl Behaviour {
    /// Sets the lag of both directions: answers show the registrations as they were this long ago.
    pub fn set_lag(&mut self, lag: Duration) {
        self.appear_after = lag;
        self.vanish_after = lag;
    }
}

/// Questions received, by kind, and answers given, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions for A records.
    pub a: u64,
    /// Questions for AAAA records.
    pub aaaa: u64,
    /// Questions for SRV records.
    pub srv: u64,
    /// Questions for anything else.
    pub other: u64,
    /// Questions of any kind that came by TCP.
    pub tcp: u64,
    /// Answers with records.
    pub records: u64,
    /// Answers NOERROR without records.
    pub no_records: u64,
    /// Answers NXDOMAIN.
    pub nx_domain: u64,
    /// Answers SERVFAIL.
    pub serv_fail: u64,
    /// Answers REFUSED.
    pub refused: u64,
    /// Answers cut on purpose.
    pub truncated: u64,
    /// Questions left without an answer.
    pub silent: u64,
}

impl Counts {
    /// All questions.
    pub fn questions(&self) -> u64 {
        self.a + self.aaaa + self.srv + self.other
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.a += more.a;
        self.aaaa += more.aaaa;
        self.srv += more.srv;
        self.other += more.other;
        self.tcp += more.tcp;
        self.records += more.records;
        self.no_records += more.no_records;
        self.nx_domain += more.nx_domain;
        self.serv_fail += more.serv_fail;
        self.refused += more.refused;
        self.truncated += more.truncated;
        self.silent += more.silent;
    }
}
