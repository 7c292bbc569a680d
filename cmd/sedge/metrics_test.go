package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// series are the node's own series, without their values.
func (tn *testNode) series() (series []string) {
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
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "sedge_") {
			series = append(series, line[:strings.LastIndexByte(line, ' ')])
		}
	}
	return series
}

// labels are all that may tell series apart: closed sets, or names of the configuration.
var labels = []string{"code_class", "experience", "go", "kind", "le", "plugin", "reason", "result", "route", "type", "upstream", "version"}

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
