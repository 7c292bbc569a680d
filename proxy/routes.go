package proxy

import (
	"fmt"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// Route sends requests for some hosts and paths to an upstream. The first route
// that matches is taken.
type Route struct {
	// Name is what logs, metrics and kill switches call the route; by default, that is
	// the upstream's name. No two routes may have the same.
	Name string `mapstructure:"name"`

	// Hosts are the names that the route answers for, without port; "*.example.com"
	// stands for every name below one. Empty means every host.
	Hosts []string `mapstructure:"hosts"`

	// Paths are globs of the decoded path: "*" within a segment, "**" across
	// segments. Empty means every path.
	Paths []string `mapstructure:"paths"`

	// Upstream names the origin.
	Upstream string `mapstructure:"upstream"`

	// Personalize is true by default; with false the route is plain proxying: nobody
	// is identified, and no page view is recorded, so goals by address do not count.
	Personalize *bool `mapstructure:"personalize"`

	// Cache says how the origin's answers are kept.
	Cache RouteCache `mapstructure:"cache"`
}

// Validate reports everything that is wrong with one route.
func (r *Route) Validate() decision.Faults {
	var faults decision.Faults
	if r.Upstream == "" {
		faults.Add("upstream", "expected the name of an upstream")
	}
	for i, host := range r.Hosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "*/: \t@") {
			faults.Add(fmt.Sprintf("hosts[%d]", i), "%q: expected a host name without port, or *.name", host)
		}
	}
	for i, glob := range r.Paths {
		if !strings.HasPrefix(glob, "/") && glob != "**" {
			faults.Add(fmt.Sprintf("paths[%d]", i), "%q: expected a path that begins with /", glob)
		}
	}
	faults.Under("cache", r.Cache.Validate())
	return faults
}

// route is a compiled [Route].
type route struct {
	name        string
	hosts       []string // lower case; ".example.com" for a wildcard
	paths       decision.Globs
	upstream    *upstream.Upstream
	personalize bool
	cache       routeCache
	stats       *RouteStats // set with the site
}

func compileRoutes(routes []Route, upstreams map[string]*upstream.Upstream) ([]route, decision.Faults) {
	var faults decision.Faults
	compiled := make([]route, 0, len(routes))
	for i := range routes {
		r := &routes[i]
		at := fmt.Sprintf("[%d]", i)
		faults.Under(at, r.Validate())
		up := upstreams[r.Upstream]
		if up == nil && r.Upstream != "" {
			faults.Add(at+".upstream", "there is no upstream %q", r.Upstream)
		}
		c := route{name: r.Name, paths: decision.CompileGlobs(r.Paths, '/'), upstream: up, personalize: r.Personalize == nil || *r.Personalize, cache: compileRouteCache(&r.Cache)}
		setDefault(&c.name, r.Upstream)
		for _, host := range r.Hosts {
			c.hosts = append(c.hosts, strings.TrimPrefix(strings.ToLower(host), "*"))
		}
		compiled = append(compiled, c)
	}
	if len(routes) == 0 {
		faults.Add("", "no route is configured; expected at least one with an upstream")
	}
	return compiled, faults
}

func (r *route) matches(host, path string) bool {
	return matchesHost(r.hosts, host) && r.paths.Match(path)
}

func matchesHost(hosts []string, host string) bool {
	for _, want := range hosts {
		if want == host || want[0] == '.' && strings.HasSuffix(host, want) {
			return true
		}
	}
	return len(hosts) == 0
}
