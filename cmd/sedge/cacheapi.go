package main

import (
	"time"

	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/proxy"
	"github.com/sedge-proxy/sedge/proxy/cache"
)

// cacheCalls is a node's cache, as its admin listener works it.
type cacheCalls struct {
	kept    proxy.Cache
	stats   *proxy.Stats
	budgets cache.Config
	now     func() time.Time
}

// cache is nil if nothing is kept.
func (n *node) cache() dashboard.Cache {
	kept := n.proxy.Cache()
	if kept == nil {
		return nil
	}
	return cacheCalls{kept: kept, stats: n.proxy.Stats(), budgets: n.kept, now: n.now}
}

// cacheUsage tells what the node's cache holds.
func (n *node) cacheUsage() dashboard.CacheUsage {
	if c := n.cache(); c != nil {
		return c.Usage()
	}
	return dashboard.CacheUsage{Disabled: true}
}

func manner(soft bool) cache.Purge {
	if soft {
		return cache.PurgeSoft
	}
	return cache.PurgeHard
}

func (c cacheCalls) PurgeURL(host, target string, soft bool) int {
	return c.kept.PurgeURL(host, target, manner(soft))
}

func (c cacheCalls) PurgePrefix(host, prefix string, soft bool) {
	c.kept.PurgePrefix(host, prefix, manner(soft))
}

func (c cacheCalls) PurgeTag(tag string, soft bool) { c.kept.PurgeTag(tag, manner(soft)) }

func (c cacheCalls) PurgeAll(soft bool) int { return c.kept.PurgeAll(manner(soft)) }

func (c cacheCalls) List(prefix string, limit int) ([]dashboard.CachedAnswer, bool) {
	listed, more := c.kept.List(prefix, limit)
	answers := make([]dashboard.CachedAnswer, len(listed))
	now := c.now()
	for i, l := range listed {
		answers[i] = dashboard.CachedAnswer{
			URL: l.URL, Status: l.Status, Age: int64(max(0, now.Sub(l.Stored)) / time.Second), Body: l.Body, Memory: l.Bytes,
			Hits: l.Hits, Variants: l.Variants, Tags: l.Tags, PurgedSoftly: l.Softly,
		}
	}
	return answers, more
}

func (c cacheCalls) Usage() dashboard.CacheUsage {
	u := c.kept.Usage()
	return dashboard.CacheUsage{
		Answers: u.Objects, AnswerBytes: u.Bytes, AnswerMemory: int64(c.budgets.ObjectMemory),
		Variants: u.Variants, Packed: u.Packed, VariantBytes: u.VariantBytes, VariantMemory: int64(c.budgets.VariantMemory),
		Hits: c.stats.CacheHits.Load(), Misses: c.stats.CacheMisses.Load(), Bypassed: c.stats.CacheBypass.Load(), Stored: c.stats.CacheStores.Load(),
		Evicted: u.Evicted, VariantsEvicted: u.VariantsEvicted, Purges: u.Purges,
	}
}
