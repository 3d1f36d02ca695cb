//! The open series of one metric, found by their labels without making any text.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{OnceLock, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, Label as Pair, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::Meter;

/// What a series is counted with.
pub trait Handle: Clone {
    fn describe(recorder: &PrometheusRecorder, meter: &'static Meter);
    fn register(recorder: &PrometheusRecorder, key: &Key) -> Self;
}

macro_rules! handles {
    ($($handle:ident $describe:ident $register:ident;)*) => {$(
        impl Handle for $handle {
            fn describe(recorder: &PrometheusRecorder, meter: &'static Meter) {
                recorder.$describe(meter.name.into(), None, meter.help.into());
            }

            fn register(recorder: &PrometheusRecorder, key: &Key) -> Self {
                recorder.$register(key, &Metadata::new("lungo", Level::INFO, None))
            }
        }
    )*};
}

handles! {
    Counter describe_counter register_counter;
    Gauge describe_gauge register_gauge;
    Histogram describe_histogram register_histogram;
}

/// A metric, and where its series are opened.
struct Source<H> {
    recorder: &'static PrometheusRecorder,
    meter: &'static Meter,
    handle: PhantomData<fn() -> H>,
}

impl<H: Handle> Source<H> {
    fn new(recorder: &'static PrometheusRecorder, meter: &'static Meter) -> Self {
        H::describe(recorder, meter);
        Self { recorder, meter, handle: PhantomData }
    }

    fn register<V: Into<metrics::SharedString>>(&self, values: impl IntoIterator<Item = V>) -> H {
        let labels: Vec<Pair> =
            self.meter.labels.iter().zip(values).map(|(name, value)| Pair::new(*name, value)).collect();
        debug_assert_eq!(labels.len(), self.meter.labels.len(), "{}", self.meter.name);
        H::register(self.recorder, &Key::from_parts(self.meter.name, labels))
    }
}

/// The values of one label or of several, all known beforehand.
pub trait Labels: Copy + 'static {
    /// How many there are.
    const COUNT: usize;
    /// The place of this value among all: below [`Labels::COUNT`].
    fn place(self) -> usize;
    /// The words that stand for it, one for each label.
    fn words(self) -> Vec<&'static str>;
    fn all() -> Vec<Self>;
    /// Those that are shown before anything happened.
    fn expected() -> Vec<Self> {
        Self::all()
    }
}

impl Labels for () {
    const COUNT: usize = 1;
    fn place(self) -> usize {
        0
    }
    fn words(self) -> Vec<&'static str> {
        Vec::new()
    }
    fn all() -> Vec<Self> {
        vec![()]
    }
}

impl<A: Labels, B: Labels> Labels for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;
    fn place(self) -> usize {
        self.0.place() * B::COUNT + self.1.place()
    }
    fn words(self) -> Vec<&'static str> {
        [self.0.words(), self.1.words()].concat()
    }
    fn all() -> Vec<Self> {
        A::all().into_iter().flat_map(|a| B::all().into_iter().map(move |b| (a, b))).collect()
    }
    fn expected() -> Vec<Self> {
        A::expected().into_iter().flat_map(|a| B::expected().into_iter().map(move |b| (a, b))).collect()
    }
}

/// The series of a metric whose labels have known values.
pub struct Family<H, L> {
    source: Source<H>,
    series: Box<[OnceLock<H>]>,
    labels: PhantomData<fn(L)>,
}

impl<H: Handle, L: Labels> Family<H, L> {
    pub(super) fn open(recorder: &'static PrometheusRecorder, meter: &'static Meter) -> Self {
        let series = (0..L::COUNT).map(|_| OnceLock::new()).collect();
        Self { source: Source::new(recorder, meter), series, labels: PhantomData }
    }

    pub(super) fn open_all(&self) {
        L::expected().into_iter().for_each(|labels| drop(self.of(labels).clone()));
    }

    pub fn of(&self, labels: L) -> &H {
        self.series[labels.place()].get_or_init(|| self.source.register(labels.words()))
    }
}

type OfRoute<H> = Vec<(&'static str, Option<&'static str>, H)>;

/// The series of a metric by route, method and perhaps status.
pub struct ByRoute<H> {
    source: Source<H>,
    routes: RwLock<HashMap<Box<str>, OfRoute<H>>>,
}

impl<H: Handle> ByRoute<H> {
    pub(super) fn open(recorder: &'static PrometheusRecorder, meter: &'static Meter) -> Self {
        Self { source: Source::new(recorder, meter), routes: RwLock::default() }
    }

    /// Nothing is known beforehand of who will ask for what.
    pub(super) fn open_all(&self) {}

    /// `route` is a pattern. There must be few different ones.
    pub fn of(&self, route: &str, method: &'static str, status: Option<&'static str>) -> H {
        let find = |routes: &HashMap<Box<str>, OfRoute<H>>| {
            let mut series = routes.get(route)?.iter();
            series.find(|(m, s, _)| *m == method && *s == status).map(|(_, _, handle)| handle.clone())
        };
        if let Some(handle) = find(&self.routes.read().unwrap_or_else(PoisonError::into_inner)) {
            return handle;
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        find(&routes).unwrap_or_else(|| {
            let words = [Some(route.to_owned()), Some(method.to_owned()), status.map(str::to_owned)];
            let handle = self.source.register(words.into_iter().flatten());
            routes.entry(route.into()).or_default().push((method, status, handle.clone()));
            handle
        })
    }
}

/// The series of a metric whose labels have few values, not known beforehand. Not for what is counted often.
pub struct Named<H> {
    source: Source<H>,
    series: RwLock<HashMap<Vec<String>, H>>,
}

impl<H: Handle> Named<H> {
    pub(super) fn open(recorder: &'static PrometheusRecorder, meter: &'static Meter) -> Self {
        Self { source: Source::new(recorder, meter), series: RwLock::default() }
    }

    /// Nothing is known beforehand of its values.
    pub(super) fn open_all(&self) {}

    pub fn of(&self, values: &[&str]) -> H {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.entry(values.clone()).or_insert_with(|| self.source.register(values)).clone()
    }
}

impl Named<Gauge> {
    /// Sets the series of these values of its one label, and all others to 0.
    pub fn set_all(&self, present: impl IntoIterator<Item = (String, f64)>) {
        let present: HashMap<Vec<String>, f64> =
            present.into_iter().map(|(value, amount)| (vec![value], amount)).collect();
        present.keys().for_each(|values| drop(self.of(&[values[0].as_str()])));
        for (values, gauge) in self.series.read().unwrap_or_else(PoisonError::into_inner).iter() {
            gauge.set(present.get(values).copied().unwrap_or(0.0));
        }
    }
}
