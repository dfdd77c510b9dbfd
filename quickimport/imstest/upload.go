package imstest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	minPart  = 5 << 20
	maxPart  = 5 << 30
	maxParts = 10000
)

// upload is an unfinished multipart upload; store.mu guards it. A part's number,
// MD5 and size are its file name, so that recording a part is one rename.
type upload struct {
	ID           string            `json:"id"`
	Bucket       string            `json:"bucket"`
	Key          string            `json:"key"`
	Initiated    time.Time         `json:"initiated"`
	StorageClass string            `json:"storage_class"`
	Meta         map[string]string `json:"meta,omitempty"`
	parts        map[int]part
}

type part struct {
	file     string
	md5      string
	size     int64
	modified time.Time
}

func (s *store) loadUploads() error {
	dirs, err := os.ReadDir(s.path("uploads"))
	if err != nil {
		return errs.Errorf("read state: %w", err)
	}
	for _, d := range dirs {
		dir := s.path("uploads", d.Name())
		u := &upload{parts: map[int]part{}}
		data, err := os.ReadFile(filepath.Join(dir, "upload.json"))
		if err != nil {
			// Its id was never given out, or its removal was interrupted.
			_ = os.RemoveAll(dir)
			continue
		}
		if err := json.Unmarshal(data, u); err != nil {
			return errs.Errorf("read state of upload %s: %w", d.Name(), err)
		}
		if err := u.loadParts(dir); err != nil {
			return err
		}
		s.uploads[u.ID] = u
	}
	return nil
}

func (u *upload) loadParts(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errs.Errorf("read state: %w", err)
	}
	for _, e := range entries {
		f := strings.Split(e.Name(), "-")
		if len(f) != 3 {
			continue
		}
		n, err1 := strconv.Atoi(f[0])
		size, err2 := strconv.ParseInt(f[2], 10, 64)
		info, err3 := e.Info()
		if err1 != nil || err2 != nil || err3 != nil || info.Size() != size {
			continue
		}
		// Two files with one number: a crash came before the old one was removed.
		if old, ok := u.parts[n]; ok && old.modified.After(info.ModTime()) {
			continue
		}
		u.parts[n] = part{file: e.Name(), md5: f[1], size: size, modified: info.ModTime()}
	}
	return nil
}

func (s *store) beginUpload(bucket, key, class string, meta map[string]string) (string, error) {
	u := &upload{ID: newID(), Bucket: bucket, Key: key, Initiated: s.now().UTC(), StorageClass: class,
		Meta: meta, parts: map[int]part{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[bucket] == nil {
		return "", noSuchBucket()
	}
	if err := os.Mkdir(s.path("uploads", u.ID), 0o755); err != nil {
		return "", err
	}
	if err := writeJSON(s.path("uploads", u.ID, "upload.json"), u, s.durable); err != nil {
		return "", err
	}
	s.uploads[u.ID] = u
	return u.ID, nil
}

// find returns an upload; the caller holds mu.
func (s *store) find(bucket, key, id string) (*upload, error) {
	u := s.uploads[id]
	if u == nil || u.Bucket != bucket || u.Key != key {
		return nil, refuse("NoSuchUpload", "The specified upload does not exist.")
	}
	return u, nil
}

func (s *store) hasUpload(bucket, key, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.find(bucket, key, id)
	return err
}

// parts returns an upload's storage class and its parts by number.
func (s *store) parts(bucket, key, id string) (class string, parts map[int]part, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.find(bucket, key, id)
	if err != nil {
		return "", nil, err
	}
	return u.StorageClass, maps.Clone(u.parts), nil
}

func (s *store) putPart(bucket, key, id string, n int, rc received) (part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.find(bucket, key, id)
	if err != nil {
		_ = os.Remove(rc.file)
		return part{}, err
	}
	p := part{md5: s.etag(rc.md5), size: rc.size, modified: s.now().UTC()}
	p.file = fmt.Sprintf("%05d-%s-%d", n, p.md5, p.size)
	if err := os.Rename(rc.file, s.path("uploads", id, p.file)); err != nil {
		return part{}, err
	}
	if old, ok := u.parts[n]; ok && old.file != p.file {
		_ = os.Remove(s.path("uploads", id, old.file))
	}
	u.parts[n] = p
	return p, nil
}

func (s *store) abort(bucket, key, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.find(bucket, key, id); err != nil {
		return err
	}
	delete(s.uploads, id)
	// upload.json goes first: without it a restart forgets the upload.
	_ = os.Remove(s.path("uploads", id, "upload.json"))
	return os.RemoveAll(s.path("uploads", id))
}

// complete turns an upload into an object. Nothing is copied or hashed again:
// the ETag follows from the parts' MD5s.
func (s *store) complete(bucket, key, id string, list []completedPart) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.find(bucket, key, id)
	if err != nil {
		return nil, err
	}
	o, err := u.assemble(list)
	if err != nil {
		return nil, err
	}
	o.Modified = s.now().UTC()
	keep := map[string]bool{}
	for _, g := range o.Segments {
		keep[filepath.Base(g.File)] = true
	}
	if err := os.Rename(s.path("uploads", id), s.path("data", id)); err != nil {
		return nil, err
	}
	if err := s.install(o); err != nil {
		return nil, err
	}
	delete(s.uploads, id)
	_ = os.Remove(s.path("data", id, "upload.json"))
	for _, p := range u.parts {
		if !keep[p.file] {
			_ = os.Remove(s.path("data", id, p.file))
		}
	}
	return o, nil
}

func (u *upload) assemble(list []completedPart) (*object, error) {
	if len(list) == 0 {
		return nil, refuse("MalformedXML", "The list of parts is empty.")
	}
	o := &object{Version: 1, Bucket: u.Bucket, Key: u.Key, StorageClass: u.StorageClass, Meta: u.Meta}
	for i := 1; i < len(list); i++ {
		if list[i].PartNumber <= list[i-1].PartNumber {
			return nil, refuse("InvalidPartOrder", "The list of parts was not in ascending order.")
		}
	}
	sum := md5.New()
	for i, c := range list {
		p, ok := u.parts[c.PartNumber]
		if !ok || !sameETag(c.ETag, p.md5) {
			return nil, refuse("InvalidPart", fmt.Sprintf("Part %d was not uploaded, or its ETag does not match.", c.PartNumber))
		}
		if i < len(list)-1 && p.size < minPart {
			return nil, refuse("EntityTooSmall", fmt.Sprintf("Part %d is smaller than 5 MiB.", c.PartNumber))
		}
		raw, err := hex.DecodeString(p.md5)
		if err != nil {
			return nil, err
		}
		sum.Write(raw)
		o.Size += p.size
		o.Segments = append(o.Segments, segment{File: u.ID + "/" + p.file, Size: p.size})
	}
	o.ETag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(list))
	return o, nil
}

// sortedUploads returns a bucket's uploads ("" for all) by key and id.
func (s *store) sortedUploads(bucket string) []*upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	var us []*upload
	for _, u := range s.uploads {
		if bucket == "" || u.Bucket == bucket {
			us = append(us, u)
		}
	}
	sort.Slice(us, func(i, j int) bool {
		if us[i].Key != us[j].Key {
			return us[i].Key < us[j].Key
		}
		return us[i].ID < us[j].ID
	})
	return us
}
