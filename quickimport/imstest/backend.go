package imstest

import (
	"bytes"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/johannesboyne/gofakes3"
)

// etagHeader carries an object's ETag through gofakes3, which knows no form
// with a part count; the handler around it turns it into the real one.
const etagHeader = "X-Imstest-Etag"

// backend is the store as gofakes3 sees it.
type backend struct{ *store }

var _ gofakes3.Backend = backend{}

func (b backend) ListBuckets() ([]gofakes3.BucketInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []gofakes3.BucketInfo
	for _, n := range slices.Sorted(maps.Keys(b.buckets)) {
		out = append(out, gofakes3.BucketInfo{Name: n, CreationDate: gofakes3.NewContentTime(b.buckets[n].Created)})
	}
	return out, nil
}

func (b backend) ListBucket(name string, prefix *gofakes3.Prefix, page gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bk := b.buckets[name]
	if bk == nil {
		return nil, gofakes3.BucketNotFound(name)
	}
	var pre, delim string
	if prefix != nil {
		pre, delim = prefix.Prefix, prefix.Delimiter
	}
	list := gofakes3.NewObjectList()
	var last string
	for _, key := range slices.Sorted(maps.Keys(bk.objects)) {
		if !strings.HasPrefix(key, pre) {
			continue
		}
		shown, common := key, false
		if i := strings.Index(key[len(pre):], delim); delim != "" && i >= 0 {
			shown, common = key[:len(pre)+i+len(delim)], true
		}
		if shown <= page.Marker && page.Marker != "" || common && shown == last {
			continue
		}
		if int64(len(list.Contents)+len(list.CommonPrefixes)) >= page.MaxKeys {
			list.IsTruncated, list.NextMarker = page.MaxKeys > 0, last
			break
		}
		last = shown
		if common {
			list.AddPrefix(shown)
			continue
		}
		o := bk.objects[key]
		list.Add(&gofakes3.Content{Key: key, LastModified: gofakes3.NewContentTime(o.Modified), ETag: `"` + o.ETag + `"`,
			Size: o.Size, StorageClass: gofakes3.StorageClass(o.StorageClass)})
	}
	return list, nil
}

func (b backend) CreateBucket(name string) error { return b.makeBucket(name, b.region, standardClass) }

func (b backend) BucketExists(name string) (bool, error) {
	_, ok := b.bucket(name)
	return ok, nil
}

func (b backend) DeleteBucket(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	bk := b.buckets[name]
	if bk == nil {
		return gofakes3.BucketNotFound(name)
	}
	if len(bk.objects) > 0 {
		return gofakes3.ResourceError(gofakes3.ErrBucketNotEmpty, name)
	}
	if err := os.Remove(b.path("buckets", name+".json")); err != nil {
		return err
	}
	delete(b.buckets, name)
	return nil
}

func (b backend) ForceDeleteBucket(name string) error { return b.DeleteBucket(name) }

func (b backend) GetObject(bucket, key string, req *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	r, err := b.open(bucket, key)
	if err != nil {
		return nil, err
	}
	out := describe(r)
	out.Range, err = req.Range(r.Size)
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	start, length := int64(0), r.Size
	if out.Range != nil {
		start, length = out.Range.Start, out.Range.Length
	}
	out.Contents = struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(r, start, length), r}
	return out, nil
}

func (b backend) HeadObject(bucket, key string) (*gofakes3.Object, error) {
	r, err := b.open(bucket, key)
	if err != nil {
		return nil, err
	}
	out := describe(r)
	out.Contents = io.NopCloser(bytes.NewReader(nil))
	return out, r.Close()
}

func describe(r *objectReader) *gofakes3.Object {
	meta := maps.Clone(r.Meta)
	if meta == nil {
		meta = map[string]string{}
	}
	meta["Last-Modified"] = r.Modified.UTC().Format(http.TimeFormat)
	meta["X-Amz-Storage-Class"] = r.StorageClass
	meta[etagHeader] = `"` + r.ETag + `"`
	hash, _ := hex.DecodeString(strings.SplitN(r.ETag, "-", 2)[0])
	return &gofakes3.Object{Name: r.Key, Metadata: meta, Size: r.Size, Hash: hash}
}

func (b backend) DeleteObject(bucket, key string) (gofakes3.ObjectDeleteResult, error) {
	return gofakes3.ObjectDeleteResult{}, b.remove(bucket, key)
}

func (b backend) DeleteMulti(bucket string, keys ...string) (gofakes3.MultiDeleteResult, error) {
	var res gofakes3.MultiDeleteResult
	for _, k := range keys {
		if err := b.remove(bucket, k); err != nil {
			return res, err
		}
		res.Deleted = append(res.Deleted, gofakes3.ObjectID{Key: k})
	}
	return res, nil
}

func (b backend) PutObject(bucket, key string, meta map[string]string, in io.Reader, size int64, _ *gofakes3.PutConditions) (gofakes3.PutObjectResult, error) {
	rc, err := b.receive(io.LimitReader(in, size))
	if err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	class := meta["X-Amz-Storage-Class"]
	if class == "" {
		class = standardClass
	}
	_, err = b.putReceived(bucket, key, rc, userMeta(meta), class)
	return gofakes3.PutObjectResult{}, err
}

func (b backend) CopyObject(srcBucket, srcKey, bucket, key string, meta map[string]string) (gofakes3.CopyObjectResult, error) {
	r, err := b.open(srcBucket, srcKey)
	if err != nil {
		return gofakes3.CopyObjectResult{}, err
	}
	defer r.Close()
	rc, err := b.receive(io.NewSectionReader(r, 0, r.Size))
	if err != nil {
		return gofakes3.CopyObjectResult{}, err
	}
	o, err := b.putReceived(bucket, key, rc, userMeta(meta), r.StorageClass)
	if err != nil {
		return gofakes3.CopyObjectResult{}, err
	}
	return gofakes3.CopyObjectResult{ETag: `"` + o.ETag + `"`, LastModified: gofakes3.NewContentTime(o.Modified)}, nil
}

// userMeta keeps what is given back with the object.
func userMeta(all map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range all {
		if k == "Content-Type" || k == "Content-Disposition" || k == "Content-Encoding" || strings.HasPrefix(k, "X-Amz-Meta-") {
			out[k] = v
		}
	}
	return out
}
