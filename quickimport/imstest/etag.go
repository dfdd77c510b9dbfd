package imstest

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
)

// etag is the ETag of a body: its MD5, unless the store encrypts with keys of its own.
func (s *store) etag(sum []byte) string {
	if s.encrypted {
		other := md5.Sum(append([]byte("encrypted"), sum...))
		sum = other[:]
	}
	return hex.EncodeToString(sum)
}

// etag returns an ETag as the fault's quirks change it, "" for none.
func (f *Fault) etag(plain string) string {
	if f.has(QuirkNoETag) {
		return ""
	}
	if f.has(QuirkOpaqueETag) {
		plain = opaqueETag(plain)
	}
	if f.has(QuirkUpperETag) {
		plain = strings.ToUpper(plain)
	}
	if !f.has(QuirkBareETag) {
		plain = `"` + plain + `"`
	}
	if f.has(QuirkWeakETag) {
		plain = "W/" + plain
	}
	return plain
}

// opaqueETag is no MD5 and has no count of parts.
func opaqueETag(plain string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(plain))) }

// plainETag removes what a quirk has added to an ETag.
func plainETag(e string) string {
	return strings.ToLower(strings.Trim(strings.TrimPrefix(e, "W/"), `"`))
}

// sameETag reports whether an ETag that a client was given, quirks included, is that of a part.
func sameETag(given, plain string) bool {
	given = plainETag(given)
	return given == plain || given == opaqueETag(plain)
}

func (c *obsCall) setETag(plain string) {
	if e := c.f.etag(plain); e != "" {
		c.w.Header().Set("ETag", e)
	}
}
