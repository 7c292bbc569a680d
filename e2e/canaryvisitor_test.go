package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

// Each secret of the canary says what it is and whose: "canary-KIND-OWNER-RANDOM". One
// search for the beginning finds all of them in an answer.
const canaryPrefix = "canary-"

// canaryKey is what the plugin makes coupons with.
const canaryKey = "the key of the coupons"

// canaryTiers are the segments; "" is none.
var canaryTiers = []string{"", "red", "green", "blue"}

// canaryVisitor is somebody with secrets. One request at a time is made for them, so
// that what they may see is known.
type canaryVisitor struct {
	mu     sync.Mutex
	name   string
	vid    string // the visitor cookie
	id     string // in it
	sid    string // the shop's own cookie
	header string // in X-Secret
	query  string
	pass   string // the Authorization

	may    []statement // what holds of the visitor: the last one, or one before if its answer did not come
	stated int

	arm, held string // as seen first
}

func newCanaryVisitor(number int, random *rand.Rand) *canaryVisitor {
	v := &canaryVisitor{name: fmt.Sprintf("v%d", number)}
	secret := func(kind string) string {
		return fmt.Sprintf("%s%s-%s-%08x", canaryPrefix, kind, v.name, random.Uint32())
	}
	v.sid, v.header, v.query, v.pass = secret("cookie"), secret("header"), secret("query"), secret("pass")
	return v
}

// statement is what a visitor states by identify: a secret, and what decides their segment.
type statement struct{ trait, tier string }

// state makes another statement. It may hold from now on, and does if confirm follows.
func (v *canaryVisitor) state(random *rand.Rand) statement {
	v.stated++
	next := statement{trait: fmt.Sprintf("%strait-%s-%d-%08x", canaryPrefix, v.name, v.stated, random.Uint32())}
	if next.tier = v.tier(); v.stated == 1 || random.IntN(2) == 0 {
		next.tier = canaryTiers[random.IntN(len(canaryTiers))]
	}
	v.may = append(v.may, next)
	return next
}

// confirm takes note that the last statement was taken.
func (v *canaryVisitor) confirm() { v.may = v.may[len(v.may)-1:] }

// withdraw takes note that the last statement was refused.
func (v *canaryVisitor) withdraw() { v.may = v.may[:len(v.may)-1] }

func (v *canaryVisitor) tier() string {
	if len(v.may) == 0 {
		return ""
	}
	return v.may[len(v.may)-1].tier
}

// takeCookie notes who the visitor is.
func (v *canaryVisitor) takeCookie(value string) {
	v.vid = value
	v.id, _, _ = strings.Cut(strings.TrimPrefix(value, "v1."), ".")
}

// coupon is what the plugin offers the visitor.
func (v *canaryVisitor) coupon() string {
	if v.id == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(canaryKey))
	_, _ = mac.Write([]byte(v.id))
	return canaryPrefix + "coupon-" + hex.EncodeToString(mac.Sum(nil)[:6])
}

// canaryTokens lists the secrets in a text. The last one may be cut off.
func canaryTokens(text string) (tokens []string) {
	for {
		at := strings.Index(text, canaryPrefix)
		if at < 0 {
			return tokens
		}
		text = text[at:]
		end := strings.IndexFunc(text, func(r rune) bool {
			return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		})
		if end < 0 {
			end = len(text)
		}
		tokens = append(tokens, text[:end])
		text = text[end:]
	}
}
