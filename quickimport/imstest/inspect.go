package imstest

import (
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// Object is an object of the store.
type Object struct {
	Key, ETag, StorageClass string // ETag without quotes
	Size                    int64  // bytes
	Modified                time.Time
	Metadata                map[string]string // x-amz-meta-*, names in lower case without the prefix
	VersionID               string            // "" unless the bucket is versioned
	DeleteMarker            bool              // the object was deleted, in a versioned bucket
}

// Upload is a multipart upload that was neither completed nor aborted.
type Upload struct {
	Bucket, Key, ID string
	Initiated       time.Time
	Parts           int // how many there are
}

// OBSEndpoint returns the base URL of the object store.
func (s *Server) OBSEndpoint() string { return s.urls[OBS] }

// IMSEndpoint returns the base URL of the image service.
func (s *Server) IMSEndpoint() string { return s.urls[IMS] }

// IAMEndpoint returns the base URL of the project lookup.
func (s *Server) IAMEndpoint() string { return s.urls[IAM] }

// keys are a key pair and its security token.
type keys struct{ access, secret, token string }

func (s *Server) currentKeys() keys {
	s.mu.Lock()
	defer s.mu.Unlock()
	return keys{s.accessKey, s.secretKey, s.securityToken}
}

// AccessKey returns the access key that is accepted.
func (s *Server) AccessKey() string { return s.currentKeys().access }

// SecretKey returns its secret key.
func (s *Server) SecretKey() string { return s.currentKeys().secret }

// SecurityToken returns the security token of the key pair, "" if the pair is permanent.
func (s *Server) SecurityToken() string { return s.currentKeys().token }

// SetCredentials replaces the accepted key pair and its security token ("" for
// a permanent pair), as rotation or the expiry of temporary keys does.
func (s *Server) SetCredentials(accessKey, secretKey, securityToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accessKey, s.secretKey, s.securityToken = accessKey, secretKey, securityToken
}

// Region returns the region of the services.
func (s *Server) Region() string { return s.region }

// ProjectID returns the id of the region's project.
func (s *Server) ProjectID() string { return s.projectID }

// Bucket returns the bucket given last by WithBucket, else DefaultBucket.
func (s *Server) Bucket() string { return s.buckets[len(s.buckets)-1] }

// Token returns the value of X-Auth-Token that is accepted.
func (s *Server) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// SetToken replaces the accepted token, as if the old one had expired.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// MakeBucket creates a bucket in any region ("" for the server's) and of any
// storage class ("" for STANDARD).
func (s *Server) MakeBucket(name, region, class string) error {
	if region == "" {
		region = s.region
	}
	if class == "" {
		class = standardClass
	}
	return s.store.makeBucket(name, region, class)
}

// PutObject stores an object without a request.
func (s *Server) PutObject(bucket, key string, r io.Reader) error {
	rc, err := s.store.receive(r)
	if err != nil {
		return err
	}
	_, err = s.store.putReceived(bucket, key, rc, nil, standardClass)
	return err
}

// Requests returns the requests received so far in order of completion. The
// oldest are dropped beyond 20000 requests or 64 MiB of headers and bodies.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Images returns all images, oldest first.
func (s *Server) Images() []Image {
	s.ims.mu.Lock()
	defer s.ims.mu.Unlock()
	out := []Image{}
	for _, i := range s.ims.images {
		c := *i
		c.Tags = maps.Clone(i.Tags)
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].Created.Equal(out[j].Created) {
			return out[i].Created.Before(out[j].Created)
		}
		return out[i].ID < out[j].ID
	})
	return out
}

// Jobs returns all jobs, oldest first.
func (s *Server) Jobs() []Job {
	s.ims.mu.Lock()
	defer s.ims.mu.Unlock()
	out := []Job{}
	for _, j := range s.ims.jobs {
		out = append(out, j.Job)
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].Begin.Equal(out[j].Begin) {
			return out[i].Begin.Before(out[j].Begin)
		}
		return out[i].ID < out[j].ID
	})
	return out
}

// Objects returns a bucket's objects by key.
func (s *Server) Objects(bucket string) []Object {
	out := []Object{}
	for _, o := range s.store.current(bucket) {
		out = append(out, o.describe())
	}
	return out
}

// Versions returns the versions of an object, delete markers included, oldest first.
func (s *Server) Versions(bucket, key string) []Object {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	b := s.store.buckets[bucket]
	if b == nil {
		return nil
	}
	var out []Object
	for _, o := range b.objects[key] {
		out = append(out, o.describe())
	}
	return out
}

func (o *object) describe() Object {
	meta := map[string]string{}
	for k, v := range o.Meta {
		if name, ok := strings.CutPrefix(k, metaPrefix); ok {
			meta[strings.ToLower(name)] = v
		}
	}
	return Object{Key: o.Key, ETag: o.ETag, StorageClass: o.StorageClass, Size: o.Size, Modified: o.Modified,
		Metadata: meta, VersionID: o.VersionID, DeleteMarker: o.Marker}
}

// ReadObject returns an object's bytes.
func (s *Server) ReadObject(bucket, key string) ([]byte, error) {
	r, err := s.store.open(bucket, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size))
}

// UnfinishedUploads returns the multipart uploads that are still open.
func (s *Server) UnfinishedUploads() []Upload {
	us := s.store.sortedUploads("")
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	out := []Upload{}
	for _, u := range us {
		out = append(out, Upload{Bucket: u.Bucket, Key: u.Key, ID: u.ID, Initiated: u.Initiated, Parts: len(u.parts)})
	}
	return out
}
