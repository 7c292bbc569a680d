package proxy

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
)

// RouteCache says how the origin's answers on a route are kept. Without it they are kept
// as HTTP says, and for no longer.
type RouteCache struct {
	// Disabled keeps no answers of the route.
	Disabled bool `mapstructure:"disabled"`

	// TTL is for how long answers are kept in the place of what the origin says, for
	// origins that say nothing or the wrong thing. It does not hold for answers that set
	// a cookie, or say private, no-store or no-cache. Without bypass_cookies, pages and data
	// are not shared with people who have cookies other than those of common analytics.
	TTL time.Duration `mapstructure:"ttl"`

	// IgnoreClient takes no notice of visitors who ask for fresher answers, as browsers
	// do on reload. By default they get them.
	IgnoreClient bool `mapstructure:"ignore_client"`

	// BypassCookies are names of cookies, "*" at the end standing for any rest; whoever
	// has one is always answered by the origin. "wordpress", "magento" and "php" stand
	// for the cookies by which these know people who have logged in or filled a cart,
	// "none" for no cookie, as of a site that knows nobody. With a ttl, people with other
	// cookies than these share what is kept.
	BypassCookies []string `mapstructure:"bypass_cookies"`

	// KeyQuery, if given, are the only parameters of the query that the origin's answer
	// depends on, "*" at the end standing for any rest. Where an answer may be kept, the
	// others do not reach the origin. Segments see all of them.
	KeyQuery []string `mapstructure:"key_query"`

	// IgnoreQuery are parameters that the answer does not depend on; where it may be kept,
	// they do not reach the origin. "ads" stands for those that advertisements add
	// (utm_*, gclid, fbclid and others). Segments see all of them.
	IgnoreQuery []string `mapstructure:"ignore_query"`
}

const (
	leastTTL = time.Second
	mostTTL  = 365 * 24 * time.Hour
)

// presets are the names that stand for several.
var (
	cookiePresets = map[string][]string{
		"wordpress": {"wordpress_logged_in_*", "wordpress_sec_*", "wp-postpass_*", "comment_author_*", "woocommerce_items_in_cart", "wp_woocommerce_session_*", "edd_items_in_cart"},
		"magento":   {"frontend", "adminhtml", "PHPSESSID", "X-Magento-Vary", "persistent_shopping_cart"},
		"php":       {"PHPSESSID", "laravel_session", "remember_web_*", "ci_session"},
		"none":      {},
	}
	queryPresets = map[string][]string{
		"ads": {"utm_*", "gclid", "gclsrc", "gbraid", "wbraid", "gad_source", "gad_campaignid", "dclid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "yclid", "igshid", "epik", "mc_cid", "mc_eid", "_hsenc", "_hsmi", "srsltid"},
	}
)

// harmlessCookies are those that scripts of analytics, advertisements and consent set in
// browsers. No site knows people by them.
var harmlessCookies = nameSet{
	"_ga", "_ga_*", "_gid", "_gat", "_gat_*", "_gac_*", "_gcl_*", "_dc_gtm_*", "__utm*", "FPID", "FPLC", "__gads", "__gpi", "__eoi",
	"_fbp", "_fbc", "_uetsid", "_uetvid", "_tt_enable_cookie", "_ttp", "_pin_unauth", "_scid", "_scid_r", "_rdt_uuid", "li_fat_id", "_ym_uid", "_ym_d", "_ym_isad", "_ym_visorc",
	"_pk_*", "_hj*", "_clck", "_clsk", "ajs_anonymous_id", "_mkto_trk", "__hstc", "__hssc", "__hssrc", "hubspotutk", "__cf_bm", "_cfuvid", "cf_clearance",
	"OptanonConsent", "OptanonAlertBoxClosed", "CookieConsent", "cookieyes-consent", "cookie_notice_accepted", "cookielawinfo-*", "borlabs-cookie",
	"euconsent-v2", "eupubconsent-v2", "didomi_token", "usprivacy", "addtl_consent",
}

// SharesUnasked reports whether the route keeps answers in spite of what the origin says,
// and nobody has said by which cookies the site knows people.
func (c *RouteCache) SharesUnasked() bool {
	return c.TTL > 0 && len(c.BypassCookies) == 0 && !c.Disabled
}

// Validate reports everything that is wrong.
func (c *RouteCache) Validate() decision.Faults {
	var faults decision.Faults
	if c.TTL != 0 && (c.TTL < leastTTL || c.TTL > mostTTL) {
		faults.Add("ttl", "%s: expected 1s to 8760h (a year), as in 5m", c.TTL)
	}
	if len(c.KeyQuery) > 0 && len(c.IgnoreQuery) > 0 {
		faults.Add("ignore_query", "expected key_query or ignore_query, not both")
	}
	for _, list := range []struct {
		path  string
		names []string
	}{{"bypass_cookies", c.BypassCookies}, {"key_query", c.KeyQuery}, {"ignore_query", c.IgnoreQuery}} {
		for i, name := range list.names {
			if strings.Trim(name, "*") == "" || strings.Contains(strings.TrimSuffix(name, "*"), "*") || strings.ContainsAny(name, " ;,=&") {
				faults.Add(fmt.Sprintf("%s[%d]", list.path, i), "%q: expected a name, or the beginning of one with * behind it", name)
			}
		}
	}
	return faults
}

// routeCache is a compiled [RouteCache].
type routeCache struct {
	disabled bool
	override cache.Override
	bypass   nameSet
	only     nameSet // of the query; nil for all
	ignored  nameSet
	harmless nameSet // cookies by which the site knows nobody
}

func compileRouteCache(c *RouteCache) routeCache {
	var harmless nameSet
	if c.SharesUnasked() {
		harmless = harmlessCookies
	}
	return routeCache{
		disabled: c.Disabled, override: cache.Override{TTL: c.TTL, CookiesNamed: len(c.BypassCookies) > 0, IgnoreClient: c.IgnoreClient},
		harmless: harmless,
		bypass:   compileNames(c.BypassCookies, cookiePresets), only: compileNames(c.KeyQuery, nil), ignored: compileNames(c.IgnoreQuery, queryPresets),
	}
}

// nameSet is a set of names and of beginnings of names.
type nameSet []string

func compileNames(list []string, presets map[string][]string) (n nameSet) {
	for _, name := range list {
		if preset, ok := presets[name]; ok {
			n = append(n, preset...)
		} else {
			n = append(n, name)
		}
	}
	return n
}

func (n nameSet) has(name []byte) bool {
	for _, want := range n {
		if beginning, open := strings.CutSuffix(want, "*"); open && bytes.HasPrefix(name, []byte(beginning)) || string(name) == want {
			return true
		}
	}
	return false
}

// bypassed reports whether the request has a cookie that makes its answer somebody's own.
func (c *routeCache) bypassed(x *exchange) bool {
	if len(c.bypass) == 0 {
		return false
	}
	for i := range x.fields {
		if !equalFold(x.fields[i].name, "Cookie") {
			continue
		}
		for name := range cookieNames(x.fields[i].value) {
			if c.bypass.has(name) {
				return true
			}
		}
	}
	return false
}

// cookieNames gives the names in a line of Cookie; a pair without a name counts by its value.
func cookieNames(line []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := line; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{';'})
			name, _, _ := bytes.Cut(pair, []byte{'='})
			if pair = trimSpace(pair); len(pair) > 0 && !yield(trimSpace(name)) {
				return
			}
		}
	}
}

// appendQuery appends what of a query the origin's answer depends on, as it came.
func (c *routeCache) appendQuery(dst []byte, query string) []byte {
	first := true
	for pair := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(pair, "=")
		name := []byte(key)
		if strings.ContainsAny(key, "%+") {
			name = appendUnescaped(nil, key)
		}
		if c.ignored.has(name) || c.only != nil && !c.only.has(name) {
			continue
		}
		if !first {
			dst = append(dst, '&')
		}
		first = false
		dst = append(dst, pair...)
	}
	return dst
}

// selects reports whether the route leaves parameters out.
func (c *routeCache) selects() bool { return c.only != nil || len(c.ignored) > 0 }

// target returns a path with what the origin's answer depends on of a query.
func (c *routeCache) target(path, query string) string {
	start := append([]byte(path), '?')
	chosen := c.appendQuery(start, query)
	if len(chosen) == len(start) {
		return path
	}
	return string(chosen)
}

// keptAs returns a target as what is kept for it is named.
func (c *routeCache) keptAs(target string) string {
	if path, query, found := strings.Cut(target, "?"); found && query != "" && c.selects() {
		return c.target(path, query)
	}
	return target
}
