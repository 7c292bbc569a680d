package e2e

import (
	"net/http"
	"testing"
)

// front is a node as the clients of one protocol see it.
type front struct {
	*node
	url string // base URL of the site
}

// protocols are the ways in which clients come. What real software shows behind
// Sedge must be the same over each of them.
var protocols = []struct {
	name string
	open func(t *testing.T, config map[string]any) *front
}{
	{"HTTP/1.1", func(t *testing.T, config map[string]any) *front {
		n := serveConfig(t, config)
		return &front{node: n, url: n.site}
	}},
}

// overEach runs a test over each protocol, with a node of its own. config makes
// the node's configuration.
func overEach(t *testing.T, config func() map[string]any, test func(t *testing.T, f *front)) {
	t.Helper()
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) { test(t, p.open(t, config())) })
	}
}

// transport returns a transport of its own that speaks the front's protocol. It
// shows answers as they are.
func (f *front) transport(t *testing.T) *http.Transport {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// client returns a client with cookies of its own.
func (f *front) client(t *testing.T) *client {
	t.Helper()
	return clientOver(t, f.url, f.transport(t))
}

// behind is the configuration of a node in front of one origin. Its pages are
// personalized as they say, and none of them unless an experience names it.
func behind(upstream string, personalize bool) map[string]any {
	return map[string]any{
		"upstreams": []any{map[string]any{"name": "site", "url": upstream}},
		"routes":    []any{map[string]any{"name": "everything", "upstream": "site", "personalize": personalize}},
	}
}
