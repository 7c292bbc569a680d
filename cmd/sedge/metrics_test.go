package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// metrics are what the node shows of itself, line by line.
func (tn *testNode) metrics() (lines []string) {
	tn.t.Helper()
	response, err := http.Get(tn.adminURL() + "/metrics")
	if err != nil {
		tn.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		tn.t.Fatalf("metrics: %s %v\n%s", response.Status, err, body)
	}
	return strings.Split(string(body), "\n")
}

// series are the node's own series, without their values.
func (tn *testNode) series() (series []string) {
	tn.t.Helper()
	for _, line := range tn.metrics() {
		if strings.HasPrefix(line, "sedge_") {
			series = append(series, line[:strings.LastIndexByte(line, ' ')])
		}
	}
	return series
}

const metricsTable = "| metric | kind | meaning |\n|---|---|---|\n"

// TestMetricsAreDocumented: docs/OPERATION.md lists what a node shows; -update writes
// its table anew.
func TestMetricsAreDocumented(t *testing.T) {
	const file = "../../docs/OPERATION.md"
	tn := startNode(t, fmt.Sprintf(greeting, "One"))
	tn.page()
	tn.reload(t.Context(), tn.read, false)
	table := metricsTable
	help := map[string]string{}
	for _, line := range tn.metrics() {
		what, rest, _ := strings.Cut(strings.TrimPrefix(line, "# "), " ")
		name, text, _ := strings.Cut(rest, " ")
		switch {
		case !strings.HasPrefix(name, "sedge_"):
		case what == "HELP":
			help[name] = text
		case what == "TYPE":
			table += fmt.Sprintf("| `%s` | %s | %s |\n", name, text, help[name])
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), metricsTable)
	if !found {
		t.Fatalf("%s has no table of metrics", file)
	}
	for strings.HasPrefix(rest, "|") {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	want := before + table + rest
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s does not say what a node shows; run with -update (-want +got):\n%s", file, diff)
	}
}

// labels are all that may tell series apart: closed sets, or names of the configuration.
var labels = []string{"code_class", "experience", "go", "kind", "le", "plugin", "reason", "result", "route", "server", "state", "type", "upstream", "version"}

// TestLabelsAreBounded: whatever clients send, there are no more series than before, no
// label that they could fill, and nothing of what they sent.
func TestLabelsAreBounded(t *testing.T) {
	tn := startNode(t, fmt.Sprintf(greeting, "One"))
	ask := func(method, path, host string) {
		t.Helper()
		r, err := http.NewRequest(method, tn.siteURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("User-Agent", "agent-x")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	ask("GET", "/", "a")
	ask("GET", "/_sedge/v1/nothing", "a")
	before := tn.series()
	for i := range 50 {
		ask(fmt.Sprintf("METHOD-X%d", i), fmt.Sprintf("/path-x%d?query-x%d", i, i), fmt.Sprintf("host-x%d.example", i))
		ask("GET", fmt.Sprintf("/_sedge/v1/path-x%d", i), "a")
	}
	after := tn.series()
	if len(after) != len(before) {
		t.Errorf("%d series, after strange requests %d", len(before), len(after))
	}
	name := regexp.MustCompile(`[{,]([a-z_]+)="`)
	for _, s := range after {
		if strings.Contains(s, "-x") {
			t.Errorf("a client chose a label: %s", s)
		}
		for _, found := range name.FindAllStringSubmatch(s, -1) {
			if !slices.Contains(labels, found[1]) {
				t.Errorf("%s: the label %s is not known to be bounded", s, found[1])
			}
		}
	}
	for _, want := range []string{
		`sedge_http_request_duration_seconds_bucket{code_class="2xx",route="everything",le="0.0005"}`,
		`sedge_upstream_duration_seconds_count{route="everything"}`, `sedge_kill_switches{kind="everything"}`,
		"sedge_http_requests_in_flight", "sedge_http_connections", `sedge_http_requests_total{code_class="5xx"}`,
	} {
		if !slices.Contains(after, want) {
			t.Errorf("there is no %s", want)
		}
	}
}
