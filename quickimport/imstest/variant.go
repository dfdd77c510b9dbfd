package imstest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
)

// Variant is a lasting way in which a cloud differs from the default one.
// [Fault] is for what happens to some requests.
type Variant string

// Variants of the object store.
const (
	NoCopy    Variant = "no-copy"    // UploadPartCopy is not implemented (501)
	NoRanges  Variant = "no-ranges"  // the Range header of a GET is ignored
	IgnoreMD5 Variant = "ignore-md5" // a body that differs from its Content-MD5 is stored
	Encrypted Variant = "encrypted"  // buckets encrypt by default with SSE-KMS: ETags are no MD5
)

// Variants of the image service.
const (
	KnownOSVersions Variant = "known-os-versions" // os_version must be one of [Server.OSVersions]
	NoWindows       Variant = "no-windows"        // Windows system images are refused, as current editions announce
	MinDiskFloor    Variant = "min-disk-floor"    // min_disk is at least 10 GB (Linux) or 20 GB (Windows), for data disks too
	SharedNames     Variant = "shared-names"      // several private images can have one name
	NoLazyLoading   Variant = "no-lazy-loading"   // images become ZVHD: __lazyloading is False
)

var allVariants = []Variant{NoCopy, NoRanges, IgnoreMD5, Encrypted, KnownOSVersions, NoWindows, MinDiskFloor, SharedNames, NoLazyLoading}

// WithVariants makes the cloud differ from the default one. Default: none.
func WithVariants(variants ...Variant) Option {
	return func(o *options) error {
		for _, v := range variants {
			if !slices.Contains(allVariants, v) {
				return fmt.Errorf("imstest: unknown variant %q", v)
			}
			o.variants[v] = true
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
