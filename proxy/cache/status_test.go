package cache_test

import (
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

func TestCacheStatus(t *testing.T) {
	for _, c := range []struct {
		name string
		s    cache.Status
		want string
	}{
		{"9211 2.1: hit", cache.Status{}, "sedge; hit"},
		{"9211 2.4: ttl", cache.Status{HasTTL: true, TTL: 376 * time.Second}, "sedge; hit; ttl=376"},
		{"9211 2.4: stale", cache.Status{HasTTL: true, TTL: -412 * time.Second}, "sedge; hit; ttl=-412"},
		{"9211 2.4: stale by less than a second", cache.Status{HasTTL: true, TTL: -1}, "sedge; hit; ttl=-1"},
		{"9211 2.2: bypass", cache.Status{Forward: cache.ForwardBypass}, "sedge; fwd=bypass"},
		{"9211 2.2: method", cache.Status{Forward: cache.ForwardMethod}, "sedge; fwd=method"},
		{"9211 2.2: uri-miss", cache.Status{Forward: cache.ForwardURIMiss}, "sedge; fwd=uri-miss"},
		{"9211 2.2: vary-miss", cache.Status{Forward: cache.ForwardVaryMiss}, "sedge; fwd=vary-miss"},
		{"9211 2.2: miss", cache.Status{Forward: cache.ForwardMiss}, "sedge; fwd=miss"},
		{"9211 2.2: request", cache.Status{Forward: cache.ForwardRequest}, "sedge; fwd=request"},
		{"9211 2.2: partial", cache.Status{Forward: cache.ForwardPartial}, "sedge; fwd=partial"},
		{"9211 2.3: fwd-status", cache.Status{Forward: cache.ForwardStale, ForwardStatus: 304}, "sedge; fwd=stale; fwd-status=304"},
		{"9211 2.5: stored", cache.Status{Forward: cache.ForwardURIMiss, Stored: true, HasTTL: true, TTL: time.Minute}, "sedge; fwd=uri-miss; ttl=60; stored"},
		{"9211 2.6: collapsed", cache.Status{Forward: cache.ForwardURIMiss, Collapsed: cache.Collapsed}, "sedge; fwd=uri-miss; collapsed"},
		{"9211 2.6: in vain", cache.Status{Forward: cache.ForwardURIMiss, Collapsed: cache.CollapsedInVain}, "sedge; fwd=uri-miss; collapsed=?0"},
		{"9211 2.5: of a hit they mean nothing", cache.Status{Stored: true, Collapsed: cache.Collapsed, ForwardStatus: 200}, "sedge; hit"},
		{"9211 2.8: detail", cache.Status{Forward: cache.ForwardMiss, Detail: string(cache.ReasonSetCookie)}, "sedge; fwd=miss; detail=set-cookie"},
		{"8941 3.3.3: a detail that is no token", cache.Status{Detail: "a \"b\"\\\n\xff"}, `sedge; hit; detail="a \"b\"\\"`},
		{"8941 3.3.4: tokens begin with a letter", cache.Status{Detail: "1"}, `sedge; hit; detail="1"`},
	} {
		if got := string(c.s.Append(nil)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
