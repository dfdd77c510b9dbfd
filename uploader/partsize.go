package uploader

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the service.
const (
	MaxParts      = 10000              // of one object
	MinPartSize   = 5 << 20            // the least of S3 for all parts but the last
	MaxPartSize   = 5 << 30            // 5 GiB
	MaxObjectSize = 48_800_000_000_000 // 48.8 TB
	maxKeyBytes   = 1024
)

// PartSizeFor returns the part size for an object that can become as large as
// maxSize: the smallest multiple of 1 MiB, at least MinPartSize, with which
// MaxParts parts hold it. Small parts let sparse objects gain the most, as only
// a part that is all zeros is spared, and keep the memory small.
func PartSizeFor(maxSize int64) int64 {
	const mib = 1 << 20
	ps := (maxSize + MaxParts - 1) / MaxParts
	ps = (ps + mib - 1) / mib * mib
	return max(ps, MinPartSize)
}

// partSize checks size and part size before anything is sent.
func (o *options) partSizeFor(maxSize int64) (int64, error) {
	if maxSize < 0 {
		return 0, pkg.Errorf("%w: negative size %d", ErrConfig, maxSize)
	}
	if maxSize > MaxObjectSize {
		return 0, pkg.Errorf("%w: %d bytes, at most %d", ErrTooLarge, maxSize, int64(MaxObjectSize))
	}
	least := PartSizeFor(maxSize)
	if o.partSize == 0 {
		return least, nil
	}
	if (maxSize+o.partSize-1)/o.partSize > MaxParts {
		return 0, pkg.Errorf("%w: %d needs more than %d parts for %d bytes, use at least %d",
			ErrPartSize, o.partSize, MaxParts, maxSize, least)
	}
	return o.partSize, nil
}

// CheckName reports a bucket or key that the service would refuse. Spaces are
// fine here; the image service takes none.
func CheckName(bucket, key string) error {
	if err := checkBucket(bucket); err != nil {
		return err
	}
	switch {
	case key == "":
		return pkg.Errorf("%w: empty key", ErrInvalidName)
	case len(key) > maxKeyBytes:
		return pkg.Errorf("%w: key of %d bytes, at most %d", ErrInvalidName, len(key), maxKeyBytes)
	case !utf8.ValidString(key):
		return pkg.Errorf("%w: key is not UTF-8", ErrInvalidName)
	case strings.ContainsFunc(key, unicode.IsControl):
		return pkg.Errorf("%w: control character in key %q", ErrInvalidName, key)
	}
	for _, seg := range strings.Split(key, "/") {
		if seg == "." || seg == ".." {
			return pkg.Errorf("%w: segment %q in key %q", ErrInvalidName, seg, key)
		}
	}
	return nil
}

func checkBucket(bucket string) error {
	ok := len(bucket) >= 3 && len(bucket) <= 63 && !strings.Contains(bucket, "..")
	for _, r := range bucket {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}
	if !ok || strings.Trim(bucket, "-.") != bucket {
		return pkg.Errorf("%w: bucket %q", ErrInvalidName, bucket)
	}
	return nil
}
