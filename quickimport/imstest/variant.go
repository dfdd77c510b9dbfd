package imstest

import (
	"encoding/xml"
	"net/http"
	"slices"
)

// Variant is a permanent property in which a cloud differs from the default
// one. For what happens to some requests only, see [Fault].
type Variant string

// Variants of the object store.
const (
	NoCopy      Variant = "no-copy"      // UploadPartCopy is not implemented (501)
	NoRanges    Variant = "no-ranges"    // the Range header of a GET is ignored
	IgnoreMD5   Variant = "ignore-md5"   // a body that differs from its Content-MD5 is stored
	Encrypted   Variant = "encrypted"    // buckets encrypt by default with SSE-KMS: ETags are no MD5
	EncryptedS3 Variant = "encrypted-s3" // buckets encrypt by default with SSE-S3 (AES256): ETags are MD5
	Versioned   Variant = "versioned"    // buckets keep every version of an object
)

// Variants of the image service.
const (
	KnownOSVersions Variant = "known-os-versions" // os_version must be one of [Server.OSVersions]
	NoWindows       Variant = "no-windows"        // Windows system images are refused, as current editions announce
	MinDiskFloor    Variant = "min-disk-floor"    // min_disk is at least 10 GB (Linux) or 20 GB (Windows), for data disks too
	JobLimit        Variant = "job-limit"         // a creation while 40 jobs are unfinished is refused (IMG.0060)
	SharedNames     Variant = "shared-names"      // several private images can have one name
	NoLazyLoading   Variant = "no-lazy-loading"   // images become ZVHD: __lazyloading is False
)

var allVariants = []Variant{NoCopy, NoRanges, IgnoreMD5, Encrypted, EncryptedS3, Versioned, KnownOSVersions, NoWindows, MinDiskFloor, JobLimit, SharedNames, NoLazyLoading}

// WithVariants makes the cloud differ from the default one. Default: none.
func WithVariants(variants ...Variant) Option {
	return func(o *options) error {
		for _, v := range variants {
			if !slices.Contains(allVariants, v) {
				return errs.Errorf("unknown variant %q; expected %s", v, names(allVariants))
			}
			o.variants[v] = true
		}
		return nil
	}
}

// applyVariants changes or refuses a request as the variants require.
func (c *obsCall) applyVariants() error {
	if c.variants[NoRanges] && c.r.Method == http.MethodGet {
		c.r.Header.Del("Range")
	}
	if c.variants[IgnoreMD5] {
		c.r.Header.Del("Content-Md5")
	}
	if c.variants[NoCopy] && c.op == OpCopyPart {
		return refuse("NotImplemented", "A header you provided implies functionality that is not implemented.")
	}
	if alg := c.encryption(); alg != "" && c.key != "" {
		c.w.Header().Set("X-Amz-Server-Side-Encryption", alg)
	}
	return nil
}

// encryption is the algorithm by which buckets encrypt, "" for none.
func (o *obs) encryption() string {
	switch {
	case o.variants[Encrypted]:
		return "aws:kms"
	case o.variants[EncryptedS3]:
		return "AES256"
	}
	return ""
}

func (c *obsCall) bucketEncryption() error {
	alg := c.encryption()
	if alg == "" {
		return refuse("ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found.")
	}
	type rule struct {
		Algorithm string `xml:"ApplyServerSideEncryptionByDefault>SSEAlgorithm"`
	}
	return c.sendXML(struct {
		XMLName xml.Name `xml:"ServerSideEncryptionConfiguration"`
		NS      string   `xml:"xmlns,attr"`
		Rule    rule
	}{NS: s3XMLNS, Rule: rule{alg}})
}
