package visitor

import "bytes"

// Client is what a request says about the program that sent it.
type Client struct {
	// Bot marks a crawler, a link preview or a monitor. Bots get the page's
	// stable default content, no cookie, and are never counted.
	Bot bool

	// Prefetch marks a page that is loaded before anybody asked to see it. It
	// gets what the navigation would get, and is not counted.
	Prefetch bool

	// NoProfiling says that the person does not want a profile (Sec-GPC: 1).
	NoProfiling bool
}

// Classify reads the request headers that header returns (nil for a missing one).
func Classify(header func(name string) []byte) Client {
	return Client{
		Bot:         IsBot(header("User-Agent")),
		Prefetch:    isPrefetch(header),
		NoProfiling: string(bytes.TrimSpace(header("Sec-GPC"))) == "1",
	}
}

func isPrefetch(header func(name string) []byte) bool {
	return hasFold(header("Sec-Purpose"), "prefetch") || // "prefetch", "prefetch;prerender"
		hasFold(header("Sec-Purpose"), "prerender") ||
		hasFold(header("Purpose"), "prefetch") ||
		hasFold(header("Purpose"), "preview") ||
		hasFold(header("X-Purpose"), "prefetch") ||
		hasFold(header("X-Purpose"), "preview") ||
		hasFold(header("X-Moz"), "prefetch")
}

// botTokens are parts of User-Agent headers, in lower case, that programs send
// and people's browsers do not. Tools that people drive themselves (curl, a
// headless Chromium in a test) are not bots: what they are shown must be what a
// person is shown.
var botTokens = indexTokens(
	// Most crawlers name themselves so, or link to a page about themselves.
	"bot", "crawl", "spider", "+http",
	// Search engines and feeds.
	"slurp", "mediapartners-google", "googleother", "google-inspectiontool", "google-read-aloud",
	"google-safety", "apis-google", "google favicon", "feedfetcher", "feedly", "feedburner",
	"ia_archiver", "heritrix", "nutch", "yandex.com/", "baidu.com/search", "sogou web", "daum/", "yeti/",
	// Link previews.
	"preview", "facebookexternalhit", "facebookcatalog", "meta-externalagent", "meta-externalfetcher",
	"whatsapp/", "embedly", "vkshare", "iframely", "linkexpanding", "snapchat url", "skypeuri",
	"pinterest/0.", "redditbot", "tumblr/", "flipboardproxy", "nuzzel", "quora link",
	// Assistants that read pages.
	"chatgpt-user", "claude-user", "perplexity-user", "anthropic-ai", "cohere-ai", "duckassist",
	// Monitors, validators and scanners.
	"lighthouse", "pagespeed", "gtmetrix", "pingdom", "statuscake", "site24x7", "newrelicpinger",
	"datadog/synthetics", "w3c_validator", "w3c-checklink", "validator.nu", "kube-probe", "elb-healthchecker", "googlehc/",
	"httrack", "scrapy", "censys", "zgrab", "masscan", "nuclei", "nmap scripting",
)

// maxUserAgent bounds the part of a User-Agent header that is looked at.
const maxUserAgent = 1024

// IsBot reports whether a User-Agent header, which may be empty, is a bot's.
func IsBot(userAgent []byte) bool {
	userAgent = bytes.TrimSpace(userAgent)
	if len(userAgent) == 0 {
		return true
	}
	userAgent = userAgent[:min(len(userAgent), maxUserAgent)]
	for i := range len(userAgent) - 1 {
		if !botTokens.pairs[pair(userAgent[i], userAgent[i+1])] {
			continue
		}
		for _, token := range botTokens.first[lower(userAgent[i])] {
			if hasPrefixFold(userAgent[i:], token) && !isPhone(userAgent[:i], token) {
				return true
			}
		}
	}
	return false
}

// isPhone spots the phones of a maker called Cubot.
func isPhone(before []byte, token string) bool {
	return token == "bot" && len(before) >= 2 && hasPrefixFold(before[len(before)-2:], "cu")
}

// tokenIndex finds the tokens that may begin at a place: most places are ruled
// out by their first two bytes.
type tokenIndex struct {
	pairs [1 << 10]bool
	first [256][]string
}

// pair folds case, as the low five bits of a letter are those of its other case.
func pair(a, b byte) int { return int(a&31)<<5 | int(b&31) }

func indexTokens(tokens ...string) *tokenIndex {
	index := new(tokenIndex)
	for _, token := range tokens {
		index.pairs[pair(token[0], token[1])] = true
		index.first[token[0]] = append(index.first[token[0]], token)
	}
	return index
}

func hasFold(s []byte, token string) bool {
	for i := 0; i+len(token) <= len(s); i++ {
		if hasPrefixFold(s[i:], token) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s []byte, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lower(s[i]) != prefix[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
