package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sedge-proxy/sedge/bypass"
	"github.com/sedge-proxy/sedge/proxy"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/tracing"
)

// metricsHandler serves the node's metrics. The rooms count by themselves, in plain
// counters; here they get their names. No label holds anything of a visitor, and
// every label's values are a closed set or names of the configuration.
func (n *node) metricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&nodeCollector{node: n},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// nodeCollector reads the rooms' counters when metrics are asked for. It describes
// nothing beforehand, since some labels are names of the configuration.
type nodeCollector struct{ *node }

func (c *nodeCollector) Describe(chan<- *prometheus.Desc) {}

func (c *nodeCollector) Collect(out chan<- prometheus.Metric) {
	m := metricSink{out}
	c.collectProxy(m)
	c.collectTimes(m)
	c.collectLogs(m)
	c.collectSwitches(m)
	c.collectUpstreams(m)
	c.collectEvents(m)
	c.collectConfig(m)
	c.collectPlugins(m)
}

// metricSink sends single values.
type metricSink struct{ out chan<- prometheus.Metric }

func (m metricSink) send(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
	desc, values := describe(name, help, labels)
	m.out <- prometheus.MustNewConstMetric(desc, kind, value, values...)
}

// histogram sends durations, unless there were none.
func (m metricSink) histogram(name, help string, d *proxy.Durations, labels ...string) {
	desc, values := describe(name, help, labels)
	if count, sum, upTo := d.Snapshot(); count > 0 {
		m.out <- prometheus.MustNewConstHistogram(desc, count, sum, upTo, values...)
	}
}

func describe(name, help string, labels []string) (desc *prometheus.Desc, values []string) {
	var names []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return prometheus.NewDesc("sedge_"+name, help, names, nil), values
}

func (m metricSink) counter(name, help string, value uint64, labels ...string) {
	m.send(prometheus.CounterValue, name, help, float64(value), labels...)
}

func (m metricSink) gauge(name, help string, value float64, labels ...string) {
	m.send(prometheus.GaugeValue, name, help, value, labels...)
}

func (c *nodeCollector) collectProxy(m metricSink) {
	s := c.proxy.Stats()
	for class := range s.Requests {
		m.counter("http_requests_total", "Requests by class of status.", s.Requests[class].Load(), "code_class", codeClass(class))
	}
	m.gauge("http_connections", "Open connections.", float64(s.Connections.Load()))
	m.gauge("http_requests_in_flight", "Requests in their handler.", float64(s.InFlight.Load()))
	m.gauge("http_streams", "Bodies and tunnels under way.", float64(s.Streams.Load()))
	m.counter("http_connections_refused_total", "Connections refused at a limit.", s.Refused.Load())
	m.counter("http_connections_evicted_total", "Connections closed to make room for others.", s.Evicted.Load())
	m.counter("http_requests_shed_total", "Requests answered with 503 because of overload.", s.Shed.Load())
	m.counter("http_bad_requests_total", "Requests refused for their framing.", s.BadRequests.Load())
	m.counter("tls_failed_handshakes_total", "TLS handshakes that came to nothing.", s.Handshakes.Load())
	certificates, failures := c.proxy.Certificates()
	for _, each := range certificates {
		m.gauge("tls_certificate_expiry_timestamp_seconds", "Until when a certificate is valid.", float64(each.At.Unix()), "certificate", each.Name)
	}
	m.counter("tls_certificate_failures_total", "Changed certificate files that could not be used, and certificates that could not be obtained.", failures)
	m.counter("http_panics_total", "Requests whose handler panicked.", s.Panics.Load())
	m.counter("http_sent_bytes_total", "Bytes sent to clients.", s.BytesOut.Load())
	m.counter("upstream_errors_total", "Requests that the upstream failed.", s.UpstreamErrors.Load())
	m.counter("http_broken_answers_total", "Answers cut off after they had begun.", s.Broken.Load())
	m.counter("pages_concerned_total", "Requests for a page that an experience names.", s.Concerned.Load())
	m.counter("pages_personalized_total", "Answers with an edit or action applied.", s.Personalized.Load())
	for _, reason := range proxy.Reasons() {
		m.counter("pages_failed_open_total", "Concerned pages answered with the origin's own page.", s.FailedOpen(reason), "reason", string(reason))
	}
	m.counter("cache_requests_total", "Requests by what the cache had for them.", s.CacheHits.Load(), "result", "hit")
	m.counter("cache_requests_total", "Requests by what the cache had for them.", s.CacheMisses.Load(), "result", "miss")
	m.counter("cache_requests_total", "Requests by what the cache had for them.", s.CacheBypass.Load(), "result", "bypass")
	m.counter("cache_stores_total", "Answers of the origin stored.", s.CacheStores.Load())
	usage := c.proxy.CacheUsage()
	m.counter("cache_stale_total", "Stale answers that served since the origin failed.", s.CacheStale.Load())
	m.counter("cache_confirmed_total", "Stored answers that the origin confirmed.", s.CacheConfirmed.Load())
	m.gauge("cache_objects", "Answers of the origin in memory.", float64(usage.Objects))
	m.gauge("cache_object_bytes", "Memory of the origin's answers, with the pages made of them.", float64(usage.Bytes))
	m.gauge("cache_variants", "Variants of pages in memory.", float64(usage.Variants))
	m.gauge("cache_variant_bytes", "Memory of the variants, with their packed forms.", float64(usage.VariantBytes))
	m.counter("cache_evictions_total", "Answers and variants dropped to make room for others.", usage.Evicted+usage.VariantsEvicted)
	m.counter("cache_purges_total", "Purges, those by unsafe requests included.", usage.Purges)
	flights := c.proxy.FlightUsage()
	m.counter("cache_collapsed_total", "Requests answered with what another one brought.", flights.Served)
	m.counter("rewrite_bytes_total", "Bytes of pages read by the rewriter.", s.RewriteBytes.Load())
	m.counter("rewrite_spliced_total", "Pages edited without reading them, since their bytes were seen before.", s.Spliced.Load())
	m.counter("rewrite_alike_total", "Of these, pages that differed from one seen before, but only in places such as a token, where nothing tells what the page is made of.", s.Alike.Load())
	m.counter("rewrite_conflicts_total", "Pages on which an edit hid one of another experience.", s.Conflicts.Load())
	m.counter("rewrite_slots_refused_total", "Edits with slots left out of elements that are no place for them.", s.SlotsRefused.Load())
	m.counter("rewrite_policy_refused_total", "Edits left out because the page's Content-Security-Policy forbids them.", s.PolicyRefused.Load())
	m.counter("visitors_minted_total", "Visitors given their cookie.", s.Minted.Load())
	m.counter("visitors_forged_cookies_total", "Cookies that no key has signed.", s.Forged.Load())
	m.counter("visitors_bot_requests_total", "Requests of bots.", s.Bots.Load())
}

// codeClass is the label for a class of status.
func codeClass(class int) string {
	if class == 0 {
		return "none"
	}
	return strconv.Itoa(class) + "xx"
}

// collectTimes tells "is it us or the origin": the one histogram holds the other.
func (c *nodeCollector) collectTimes(m metricSink) {
	c.proxy.EachRoute(func(name string, stats *proxy.RouteStats) {
		for class := range stats.Requests {
			m.histogram("http_request_duration_seconds", "Time from a request's head until its answer is ready to go out, that of the upstream included.",
				&stats.Requests[class], "route", name, "code_class", codeClass(class))
		}
		m.histogram("upstream_duration_seconds", "Time until the head of the upstream's answer, or its failure, is there.", &stats.Upstream, "route", name)
	})
}

func (c *nodeCollector) collectLogs(m metricSink) {
	queue := c.logs.queue
	m.counter("access_log_dropped_total", "Lines of the access log dropped, since nobody took them in time.", queue.droppedAccess.Load())
	m.counter("log_dropped_total", "Other log lines dropped, since nobody took them in time.", queue.droppedOther.Load())
	stats := new(tracing.Stats)
	if c.tracer != nil {
		stats = c.tracer.Stats()
	}
	const traces = "Traces of sampled requests, by what became of them."
	m.counter("traces_total", traces, stats.Sent.Load(), "result", "sent")
	m.counter("traces_total", traces, stats.Dropped.Load(), "result", "dropped")
	m.counter("traces_total", traces, stats.Failed.Load(), "result", "failed")
}

func (c *nodeCollector) collectSwitches(m metricSink) {
	count := map[bypass.Kind]int{}
	for _, each := range c.switches.List() {
		count[each.Kind]++
	}
	for _, kind := range bypass.Kinds() {
		m.gauge("kill_switches", "Kill switches that are set.", float64(count[kind]), "kind", string(kind))
	}
}

func (c *nodeCollector) collectUpstreams(m metricSink) {
	for _, u := range c.upstreamStatus() {
		m.gauge("upstream_breaker_open", "Whether requests are refused since the upstream fails.", oneIf(u.BreakerOpen), "upstream", u.name)
		m.counter("upstream_breaker_opened_total", "Times that the breaker opened.", u.Opened, "upstream", u.name)
		m.counter("upstream_breaker_refused_total", "Requests that the open breaker refused.", u.Refused, "upstream", u.name)
		m.counter("upstream_retries_total", "Requests that were tried once more.", u.Retries, "upstream", u.name)
		m.counter("upstream_retries_over_budget_total", "Requests that were not tried once more for lack of budget.", u.OverBudget, "upstream", u.name)
		for i := range u.Servers {
			m.upstreamServer(u.name, &u.Servers[i])
		}
	}
}

func (m metricSink) upstreamServer(name string, s *upstream.ServerStatus) {
	labels := []string{"upstream", name, "server", s.Address}
	with := func(more ...string) []string { return append(labels[:4:4], more...) }
	m.gauge("upstream_server_up", "Whether the server gets requests: neither ejected nor down by its checks.", oneIf(s.Available()), labels...)
	m.counter("upstream_server_requests_total", "Attempts, retries among them.", s.Requests, labels...)
	for kind, count := range s.Errors {
		m.counter("upstream_server_errors_total", "Attempts and bodies that came to nothing.", count, with("kind", kind.String())...)
	}
	m.counter("upstream_server_ejections_total", "Times that the server was taken out for failed requests.", s.Ejections, labels...)
	m.counter("upstream_server_failed_checks_total", "Health checks that were not answered as they should.", s.FailedChecks, labels...)
	m.gauge("upstream_server_connections", "Connections to the server.", float64(s.Active), with("state", "active")...)
	m.gauge("upstream_server_connections", "Connections to the server.", float64(s.Idle), with("state", "idle")...)
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

func (c *nodeCollector) collectEvents(m metricSink) {
	intake := c.intake.Stats()
	m.counter("events_accepted_total", "Events accepted by the API, durable.", uint64(intake.Accepted))
	m.counter("events_duplicates_total", "Events recognized as sent before.", uint64(intake.Duplicates))
	m.counter("events_recorded_total", "Events seen in traffic.", uint64(intake.Recorded))
	m.counter("events_busy_total", "Events refused for lack of room; their sender tries again.", uint64(intake.Busy))
	m.counter("events_invalid_total", "Events refused as invalid.", uint64(intake.Invalid))
	const dropped = "Events from traffic dropped for lack of room."
	m.counter("events_dropped_total", dropped, uint64(intake.DroppedPages), "type", "page")
	m.counter("events_dropped_total", dropped, uint64(intake.DroppedTriggers), "type", "trigger")
	m.counter("events_dropped_total", dropped, uint64(intake.DroppedConversions), "type", "conversion")
	m.counter("events_dropped_total", dropped, uint64(intake.DroppedOthers), "type", "other")
	log, ledger, live := c.events.Stats(), c.ledger.Stats(), c.live.Stats()
	m.gauge("event_log_bytes", "Size of the event log on disk.", float64(log.Bytes))
	m.gauge("event_log_queue_bytes", "Bytes that wait for the disk.", float64(log.Queued))
	m.counter("event_log_damaged_total", "Places without a valid record that were skipped.", uint64(log.Damaged))
	m.gauge("ledger_lag_bytes", "Durable events that are not applied yet.", float64(ledger.Lag))
	m.counter("ledger_events_total", "Events applied.", uint64(ledger.Events))
	m.counter("ledger_failures_total", "Writes that were repeated.", uint64(ledger.Failures))
	const profiles = "Look-ups of profiles, in memory or else in the store."
	m.counter("profile_lookups_total", profiles, uint64(live.Hits), "result", "hit")
	m.counter("profile_lookups_total", profiles, uint64(live.Misses), "result", "miss")
	m.counter("profile_evictions_total", "Visitors dropped from memory to make room for others.", uint64(live.Evicted))
	m.gauge("profiles_in_memory", "Visitors in memory.", float64(live.Entries))
	m.gauge("profiles_unwritten", "Visitors with events that the ledger has not written.", float64(live.Dirty))
}

func (c *nodeCollector) collectConfig(m metricSink) {
	ok, at := 1.0, c.started
	if last := c.lastReload.Load(); last != nil {
		if last.err != nil {
			ok = 0
		}
	}
	if good := c.lastGood.Load(); good != nil {
		at = *good
	}
	m.gauge("config_last_reload_successful", "Whether the last reload was taken over.", ok)
	m.gauge("config_last_reload_success_timestamp_seconds", "When a configuration was last taken over.", float64(at.Unix()))
	info := build()
	m.gauge("build_info", "The running version.", 1, "version", info.Version, "go", info.Go)
	g := c.current.Load()
	m.gauge("config_generation", "Number of the configuration since start.", float64(g.number))
	s := g.scorer.Stats()
	const lookups = "Look-ups of segments in this generation."
	m.counter("segment_lookups_total", lookups, s.Hits, "result", "hit")
	m.counter("segment_lookups_total", lookups, s.Computed, "result", "computed")
	m.counter("segment_rule_failures_total", "Rules that could not be evaluated.", s.Failed)
	for _, e := range g.planner.Stats() {
		m.counter("plan_answers_total", "Answers for an experience.", e.Hits, "experience", e.Experience, "result", "hit")
		m.counter("plan_answers_total", "Answers for an experience.", e.Calls, "experience", e.Experience, "result", "call")
		m.counter("plan_failures_total", "Plugin calls for an experience without an answer.", e.Failures, "experience", e.Experience)
	}
}

func (c *nodeCollector) collectPlugins(m metricSink) {
	for _, p := range c.plugins.Status() {
		m.gauge("plugin_up", "Whether the plugin runs.", oneIf(p.State == "running"), "plugin", p.Name)
		m.counter("plugin_calls_total", "Calls that reached the plugin.", p.Calls, "plugin", p.Name)
		m.counter("plugin_failures_total", "Calls without an answer.", p.Failures, "plugin", p.Name)
		m.counter("plugin_timeouts_total", "Calls that took too long.", p.Timeouts, "plugin", p.Name)
		m.counter("plugin_refused_total", "Calls that were not made.", p.Refused, "plugin", p.Name)
		m.counter("plugin_restarts_total", "Restarts of the process.", uint64(p.Restarts), "plugin", p.Name)
	}
}
