package imstest

import (
	"cmp"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const standardClass = "STANDARD"

// store keeps buckets, objects and unfinished uploads in files:
//
//	buckets/NAME.json    objects/HASH.json    data/FILE    data/UPLOAD/PART
//	uploads/UPLOAD/{upload.json,PART}         tmp/
//
// Completing an upload moves its directory from uploads to data, where its parts
// become the object's segments: a rename, not a copy.
type store struct {
	dir       string
	durable   bool
	region    string
	now       func() time.Time
	encrypted bool // buckets encrypt by default, with keys that leave no MD5 in ETags
	versioned bool // buckets keep every version of an object

	mu      sync.Mutex // guards everything below, and refs and dead of objects
	buckets map[string]*bucket
	uploads map[string]*upload
}

type bucket struct {
	Name         string               `json:"name"`
	Region       string               `json:"region"`
	StorageClass string               `json:"storage_class"`
	Created      time.Time            `json:"created"`
	objects      map[string][]*object // by key, oldest version first
}

type segment struct {
	File string `json:"file"`
	Size int64  `json:"size"`
}

type object struct {
	Version      int               `json:"version"`
	Bucket       string            `json:"bucket"`
	Key          string            `json:"key"`
	ETag         string            `json:"etag"`
	Size         int64             `json:"size"`
	StorageClass string            `json:"storage_class"`
	Modified     time.Time         `json:"modified"`
	Meta         map[string]string `json:"meta,omitempty"`
	Segments     []segment         `json:"segments"`
	VersionID    string            `json:"version_id,omitempty"` // in versioned buckets
	Order        int64             `json:"order,omitempty"`      // among the versions of a key
	Marker       bool              `json:"marker,omitempty"`     // a delete marker
	refs         int
	dead         bool
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func openStore(dir string, durable bool, region string, now func() time.Time) (*store, error) {
	s := &store{dir: dir, durable: durable, region: region, now: now,
		buckets: map[string]*bucket{}, uploads: map[string]*upload{}}
	// What a crash left in tmp was never acknowledged.
	if err := os.RemoveAll(s.path("tmp")); err != nil {
		return nil, errs.Errorf("clear temporary files: %w", err)
	}
	for _, d := range []string{"buckets", "objects", "data", "uploads", "tmp"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			return nil, errs.Errorf("create state directory: %w", err)
		}
	}
	return s, s.load()
}

func (s *store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *store) load() error {
	err := eachJSON(s.path("buckets"), func(b *bucket) error {
		b.objects = map[string][]*object{}
		s.buckets[b.Name] = b
		return nil
	})
	if err != nil {
		return err
	}
	used := map[string]bool{}
	err = eachJSON(s.path("objects"), func(o *object) error {
		if o.Version != 1 {
			return errs.Errorf("object state version %d is not supported", o.Version)
		}
		if b := s.buckets[o.Bucket]; b != nil {
			b.objects[o.Key] = append(b.objects[o.Key], o)
			for _, g := range o.Segments {
				used[strings.Split(g.File, "/")[0]] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range s.buckets {
		for _, versions := range b.objects {
			slices.SortFunc(versions, func(a, z *object) int { return cmp.Compare(a.Order, z.Order) })
		}
	}
	if err := s.sweep(used); err != nil {
		return err
	}
	return s.loadUploads()
}

// sweep removes data without an object, and restores an upload whose completion
// was interrupted before its object was recorded.
func (s *store) sweep(used map[string]bool) error {
	entries, err := os.ReadDir(s.path("data"))
	if err != nil {
		return errs.Errorf("read state: %w", err)
	}
	for _, e := range entries {
		p := s.path("data", e.Name())
		_, serr := os.Stat(filepath.Join(p, "upload.json"))
		switch {
		case used[e.Name()]:
		case serr == nil:
			err = os.Rename(p, s.path("uploads", e.Name()))
		default:
			err = os.RemoveAll(p)
		}
		if err != nil {
			return errs.Errorf("recover state: %w", err)
		}
	}
	return nil
}

func eachJSON[T any](dir string, f func(*T) error) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			return errs.Errorf("read state: %w", err)
		}
		v := new(T)
		if err := json.Unmarshal(data, v); err != nil {
			return errs.Errorf("read state %s: %w", n, err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

// writeJSON replaces name atomically.
func writeJSON(name string, v any, durable bool) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return errs.Errorf("write state: %w", err)
	}
	return nil
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (s *store) objectFile(o *object) string {
	id := o.Bucket + "\x00" + o.Key
	if o.VersionID != "" {
		id += "\x00" + o.VersionID
	}
	h := sha256.Sum256([]byte(id))
	return s.path("objects", hex.EncodeToString(h[:])+".json")
}

func (s *store) makeBucket(name, region, class string) error {
	if !bucketName.MatchString(name) {
		return refuse("InvalidBucketName", "The specified bucket is not valid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[name] != nil {
		return refuse("BucketAlreadyExists", "The requested bucket name is not available.")
	}
	b := &bucket{Name: name, Region: region, StorageClass: class, Created: s.now().UTC(), objects: map[string][]*object{}}
	if err := writeJSON(s.path("buckets", name+".json"), b, s.durable); err != nil {
		return err
	}
	s.buckets[name] = b
	return nil
}

func (s *store) bucket(name string) (bucket, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil {
		return bucket{}, false
	}
	return *b, true
}

// received is a body on disk that is not part of an object or upload yet.
type received struct {
	file string
	size int64
	md5  []byte
}

func (s *store) receive(r io.Reader) (rc received, err error) {
	rc.file = s.path("tmp", newID())
	f, err := os.OpenFile(rc.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return rc, err
	}
	sum := md5.New()
	rc.size, err = io.CopyBuffer(io.MultiWriter(sum, f), struct{ io.Reader }{r}, make([]byte, 128<<10))
	err = errors.Join(err, f.Close())
	if err != nil {
		_ = os.Remove(rc.file)
	}
	rc.md5 = sum.Sum(nil)
	return rc, err
}

// putReceived stores a received body as the object bucket/key.
func (s *store) putReceived(bucket, key string, rc received, meta map[string]string, class string) (*object, error) {
	id := newID()
	o := &object{Version: 1, Bucket: bucket, Key: key, ETag: s.etag(rc.md5), Size: rc.size,
		StorageClass: class, Modified: s.now().UTC(), Meta: meta, Segments: []segment{{File: id, Size: rc.size}}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[bucket] == nil {
		_ = os.Remove(rc.file)
		return nil, noSuchBucket()
	}
	if err := os.Rename(rc.file, s.path("data", id)); err != nil {
		return nil, err
	}
	return o, s.install(o)
}

// install records o and, unless the bucket keeps versions, removes the object
// that it replaces; the caller holds mu.
func (s *store) install(o *object) error {
	b := s.buckets[o.Bucket]
	old := b.objects[o.Key]
	if len(old) > 0 {
		o.Order = old[len(old)-1].Order + 1
	}
	if s.versioned {
		o.VersionID = newID()
	}
	if err := writeJSON(s.objectFile(o), o, s.durable); err != nil {
		return err
	}
	kept := []*object{}
	for _, v := range old {
		if v.VersionID == o.VersionID {
			s.kill(v)
			continue
		}
		kept = append(kept, v)
	}
	b.objects[o.Key] = append(kept, o)
	return nil
}

// kill removes the data of an object once its last reader is closed; the caller holds mu.
func (s *store) kill(o *object) {
	if o == nil {
		return
	}
	o.dead = true
	if o.refs > 0 {
		return
	}
	for _, g := range o.Segments {
		// A file that cannot be removed now is swept at the next start.
		_ = os.RemoveAll(s.path("data", strings.Split(g.File, "/")[0]))
	}
}

// remove deletes an object or, with version, that version of it. If the bucket
// keeps versions, it adds a delete marker and returns it.
func (s *store) remove(bucket, key, version string) (marker *object, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil, noSuchBucket()
	}
	if s.versioned && version == "" {
		marker = &object{Version: 1, Bucket: bucket, Key: key, Modified: s.now().UTC(), Marker: true}
		return marker, s.install(marker)
	}
	i := slices.IndexFunc(b.objects[key], func(o *object) bool { return o.VersionID == version })
	if i < 0 {
		return nil, nil
	}
	o := b.objects[key][i]
	if err := os.Remove(s.objectFile(o)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if b.objects[key] = slices.Delete(b.objects[key], i, i+1); len(b.objects[key]) == 0 {
		delete(b.objects, key)
	}
	s.kill(o)
	return nil, nil
}

// current returns a bucket's objects as they are now, by key.
func (s *store) current(bucket string) []*object {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil
	}
	var out []*object
	for _, k := range slices.Sorted(maps.Keys(b.objects)) {
		if o := b.objects[k][len(b.objects[k])-1]; !o.Marker {
			out = append(out, o)
		}
	}
	return out
}

// open returns the current version of an object. Later changes do not affect the reader.
func (s *store) open(bucket, key string) (*objectReader, error) {
	return s.openVersion(bucket, key, "")
}

// openVersion returns a version of an object, the current one for "".
func (s *store) openVersion(bucket, key, version string) (*objectReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil, noSuchBucket()
	}
	versions := b.objects[key]
	i := len(versions) - 1
	if version != "" {
		if i = slices.IndexFunc(versions, func(o *object) bool { return o.VersionID == version }); i < 0 {
			return nil, refuse("NoSuchVersion", "The specified version does not exist.")
		}
	}
	if i < 0 || versions[i].Marker {
		return nil, noSuchKey()
	}
	o := versions[i]
	o.refs++
	return &objectReader{s: s, object: o}, nil
}
