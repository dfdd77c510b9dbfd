package imstest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
)

// Variant is a way in which an object store may differ from the default one.
type Variant string

// The variants.
const (
	NoCopy    Variant = "no-copy"    // UploadPartCopy is not implemented (501)
	NoRanges  Variant = "no-ranges"  // the Range header of a GET is passed over
	IgnoreMD5 Variant = "ignore-md5" // a body that differs from its Content-MD5 is stored
	Encrypted Variant = "encrypted"  // buckets encrypt by default: ETags are no MD5
)

// WithVariants makes the object store differ from the default one. Default: none.
func WithVariants(variants ...Variant) Option {
	return func(o *options) error {
		for _, v := range variants {
			switch v {
			case NoCopy, NoRanges, IgnoreMD5, Encrypted:
				o.variants[v] = true
			default:
				return fmt.Errorf("imstest: variant %q is not known", v)
			}
		}
		return nil
	}
}

// vary changes a request, or refuses it, as the variants have it.
func (o *obs) vary(w http.ResponseWriter, r *http.Request, key string) error {
	if o.variants[NoRanges] && r.Method == http.MethodGet {
		r.Header.Del("Range")
	}
	if o.variants[IgnoreMD5] {
		r.Header.Del("Content-Md5")
	}
	if o.variants[NoCopy] && r.Header.Get(copyFrom) != "" && r.URL.Query().Has("partNumber") {
		return &obsError{http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented."}
	}
	if o.variants[Encrypted] && key != "" {
		w.Header().Set("X-Amz-Server-Side-Encryption", "aws:kms")
	}
	return nil
}

// bucketEncryption answers GET ?encryption.
func (o *obs) bucketEncryption(w http.ResponseWriter) error {
	if !o.variants[Encrypted] {
		return &obsError{http.StatusNotFound, "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found."}
	}
	type rule struct {
		Algorithm string `xml:"ApplyServerSideEncryptionByDefault>SSEAlgorithm"`
	}
	return writeXML(w, struct {
		XMLName xml.Name `xml:"ServerSideEncryptionConfiguration"`
		NS      string   `xml:"xmlns,attr"`
		Rule    rule
	}{NS: s3XMLNS, Rule: rule{"aws:kms"}})
}

// etag is the ETag of a body: its MD5, unless the store encrypts.
func (s *store) etag(sum []byte) string {
	if s.encrypted {
		other := md5.Sum(append([]byte("encrypted"), sum...))
		sum = other[:]
	}
	return hex.EncodeToString(sum)
}
