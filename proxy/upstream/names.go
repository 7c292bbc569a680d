package upstream

import "github.com/valyala/fasthttp"

// longestKnown is the length of the longest name that is looked for.
const longestKnown = 35

// role is what a header means here.
type role uint8

const (
	roleUnknown  role = iota
	roleSpelled       // it is looked for by its usual spelling, and means nothing here
	roleEndsHere      // it belongs to this hop alone or is written anew for the next one

	// Of requests and answers.
	roleConnection
	roleTrailer

	// Of answers.
	roleBodyLength
	roleBodyCoding
	roleTransferCoding
	roleUpgrade
	roleDate

	// Of requests.
	roleTrailersWanted
	roleForwardedFor
	roleForwardedProto
	roleForwardedHost
	roleForwarded
	roleMisleading // what some origins believe of the client, or of the target
	roleAcceptEncoding
	roleCookie
)

// knownNames finds headers in any case. They are kept by their length.
type knownNames [longestKnown + 1][]knownName

type knownName struct {
	usual string // spelling, if it is looked for
	role  role
}

// unknownName stands for all other headers.
var unknownName = &knownName{}

// find returns what is known of a header.
func (n *knownNames) find(name []byte) *knownName {
	if len(name) > longestKnown {
		return unknownName
	}
	alike := n[len(name)]
	for i := range alike {
		known := &alike[i]
		if known.usual[0]|0x20 == name[0]|0x20 && (known.usual == string(name) || equalFold(name, known.usual)) {
			return known
		}
	}
	return unknownName
}

// namesOf are the names that have a role.
type namesOf struct {
	role  role
	names []string // in their usual spelling
}

func newNames(roles ...namesOf) *knownNames {
	n := new(knownNames)
	for _, r := range roles {
		for _, usual := range r.names {
			n[len(usual)] = append(n[len(usual)], knownName{usual, r.role})
		}
	}
	return n
}

// answerNames are the headers of answers that are looked at, here or elsewhere: since
// fasthttp finds names by exact spelling, each gets its usual one.
var answerNames = newNames(
	namesOf{roleConnection, []string{fasthttp.HeaderConnection, "Proxy-Connection"}},
	namesOf{roleEndsHere, []string{"Keep-Alive", fasthttp.HeaderProxyAuthenticate, "Proxy-Authentication-Info", fasthttp.HeaderTE}},

	namesOf{roleBodyLength, []string{fasthttp.HeaderContentLength}},
	namesOf{roleBodyCoding, []string{fasthttp.HeaderContentEncoding}},
	namesOf{roleTransferCoding, []string{fasthttp.HeaderTransferEncoding}},
	namesOf{roleUpgrade, []string{fasthttp.HeaderUpgrade}},
	namesOf{roleTrailer, []string{fasthttp.HeaderTrailer}},
	namesOf{roleDate, []string{fasthttp.HeaderDate}},

	namesOf{roleSpelled, []string{
		fasthttp.HeaderAge, fasthttp.HeaderCacheControl, fasthttp.HeaderPragma, fasthttp.HeaderExpires, fasthttp.HeaderETag,
		fasthttp.HeaderLastModified, fasthttp.HeaderVary, fasthttp.HeaderLocation, "Content-Location", "Refresh", "Link",
		fasthttp.HeaderVia, fasthttp.HeaderAcceptRanges, fasthttp.HeaderContentRange, fasthttp.HeaderContentDisposition,
		fasthttp.HeaderContentLanguage, fasthttp.HeaderContentSecurityPolicy, fasthttp.HeaderContentSecurityPolicyReportOnly,
		fasthttp.HeaderWWWAuthenticate, fasthttp.HeaderRetryAfter, "CDN-Cache-Control", "Surrogate-Control", "Digest",
		"Content-Digest", "Repr-Digest", "Content-MD5", "Clear-Site-Data", "Cache-Status",
	}},
)

// requestNames are the headers of requests that do not go to the origin as others do.
var requestNames = newNames(
	namesOf{roleConnection, []string{fasthttp.HeaderConnection, "Proxy-Connection"}},
	namesOf{roleEndsHere, []string{
		fasthttp.HeaderHost, fasthttp.HeaderContentLength, fasthttp.HeaderTransferEncoding, "Keep-Alive", "Proxy",
		fasthttp.HeaderProxyAuthenticate, fasthttp.HeaderProxyAuthorization, fasthttp.HeaderUpgrade, fasthttp.HeaderExpect,
		"HTTP2-Settings",
	}},
	namesOf{roleTrailer, []string{fasthttp.HeaderTrailer}},
	namesOf{roleTrailersWanted, []string{fasthttp.HeaderTE}},
	namesOf{roleForwardedFor, []string{fasthttp.HeaderXForwardedFor}},
	namesOf{roleForwardedProto, []string{fasthttp.HeaderXForwardedProto}},
	namesOf{roleForwardedHost, []string{fasthttp.HeaderXForwardedHost}},
	namesOf{roleForwarded, []string{fasthttp.HeaderForwarded}},
	namesOf{roleMisleading, []string{"X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-Original-Host"}},
	namesOf{roleAcceptEncoding, []string{fasthttp.HeaderAcceptEncoding}},
	namesOf{roleCookie, []string{fasthttp.HeaderCookie}},
)
