package imstest

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// maxPage is how many images the service lists when no limit is given.
const maxPage = 500

// Visibilities of images.
const (
	visiblePrivate = "private"
	visiblePublic  = "public"
)

// ListImages ends the effect of [Fault] ListLate: all images are listed from now on.
func (s *Server) ListImages() {
	s.ims.mu.Lock()
	defer s.ims.mu.Unlock()
	clear(s.ims.late)
}

// AddImage adds an image without a job, for instance a public one. ID, Status (active), Visibility (private), Type (ECS), OSType (Linux)
// and Created are filled in if empty. It returns the image's id.
func (s *Server) AddImage(img Image) (id string, err error) {
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&img.ID, uuid.NewString())
	def(&img.Status, "active")
	def(&img.Visibility, visiblePrivate)
	def(&img.Type, "ECS")
	def(&img.OSType, "Linux")
	if img.Name == "" {
		return "", errs.New("image without a name")
	}
	if img.Created.IsZero() {
		img.Created = s.clock().UTC()
	}
	m := s.ims
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.images[img.ID] != nil {
		return "", errs.Errorf("image %s exists", img.ID)
	}
	m.images[img.ID] = &img
	return img.ID, writeJSON(m.imageFile(img.ID), &img, m.store.durable)
}

// private counts the images that the quota counts; the caller holds mu.
func (m *imsService) private() int {
	n := 0
	for _, i := range m.images {
		if i.Visibility == visiblePrivate {
			n++
		}
	}
	return n
}

// taken reports whether a private image that is listed has the name; the caller holds mu.
func (m *imsService) taken(name string) bool {
	for id, i := range m.images {
		if _, late := m.late[id]; i.Name == name && i.Visibility == visiblePrivate && !late {
			return true
		}
	}
	return false
}

// list returns the images that the query asks for: those after the marker, at
// most limit.
func (m *imsService) list(r *http.Request, f *Fault) (any, *apiError) {
	q := r.URL.Query()
	limit := maxPage
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 || n > maxPage {
			return nil, bad("IMG.0001", "The request message format is invalid: limit.")
		}
		limit = n
	}
	all, out := m.Images(), []map[string]any{}
	if f.has(QuirkEndlessImages) {
		all = made(limit)
	}
	if id := q.Get("marker"); id != "" && !f.has(QuirkIgnoreMarker) && !f.has(QuirkEndlessImages) {
		at := slices.IndexFunc(all, func(i Image) bool { return i.ID == id })
		if at < 0 {
			return nil, bad("IMG.0001", "The request message format is invalid: marker.")
		}
		all = all[at+1:]
	}
	for _, i := range all {
		if (i.listed(q) || f.has(QuirkEndlessImages)) && len(out) < limit && !m.heldBack(i.ID) {
			out = append(out, i.view(!m.variants[NoLazyLoading]))
		}
	}
	return map[string]any{"images": out}, nil
}

// made returns n invented images, different ones each time.
func made(n int) []Image {
	out := make([]Image, n)
	for i := range out {
		out[i] = Image{ID: uuid.NewString(), Status: "active", Visibility: visiblePrivate, Type: "ECS", OSType: "Linux"}
		out[i].Name = "endless-" + out[i].ID
	}
	return out
}

// heldBack reports whether a list leaves the image out, and counts it.
func (m *imsService) heldBack(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, late := m.late[id]
	switch {
	case n > 1:
		m.late[id]--
	case n >= 0:
		delete(m.late, id)
	}
	return late
}

func (i Image) listed(q url.Values) bool {
	kind := map[string]string{visiblePrivate: "private", visiblePublic: "gold", "shared": "shared"}[i.Visibility]
	for field, value := range map[string]string{"id": i.ID, "name": i.Name, "status": i.Status, "__imagetype": kind, "visibility": i.Visibility} {
		if q.Get(field) != "" && q.Get(field) != value {
			return false
		}
	}
	return !q.Has("name") || q.Get("name") == i.Name
}

func (i Image) view(lazy bool) map[string]any {
	tags := []string{}
	for k, v := range i.Tags {
		tags = append(tags, k+"."+v)
	}
	sort.Strings(tags)
	env := map[string]string{"DataImage": "DataImage", "BMS": "Ironic"}[i.Type]
	if env == "" {
		env = "FusionCompute"
	}
	kind := map[string]string{visiblePublic: "gold"}[i.Visibility]
	if kind == "" {
		kind = i.Visibility
	}
	v := map[string]any{"id": i.ID, "name": i.Name, "status": i.Status, "min_disk": i.MinDisk, "min_ram": 0, "tags": tags,
		"visibility": i.Visibility, "__imagetype": kind, "__image_source_type": "uds", "__description": i.Description,
		"__os_type": i.OSType, "__os_version": i.OSVersion, "__data_origin": "file," + i.Bucket + ":" + i.Key, "__image_size": fmt.Sprint(i.DiskSize),
		"enterprise_project_id": i.EnterpriseProjectID, "virtual_env_type": env, "disk_format": "zvhd2", "hw_firmware_type": i.Firmware,
		"created_at": i.Created.UTC().Format(time.RFC3339), "updated_at": i.Created.UTC().Format(time.RFC3339), "protected": false,
		"__lazyloading": "true"}
	if !lazy {
		v["disk_format"], v["__lazyloading"] = "vhd", "False"
	}
	if i.Architecture == "arm" {
		v["__support_arm"] = "true"
	}
	return v
}

func (m *imsService) delete(id string) *apiError {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.images[id] == nil {
		return &apiError{http.StatusNotFound, "IMG.0027", "The image does not exist."}
	}
	delete(m.images, id)
	delete(m.late, id)
	_ = os.Remove(m.imageFile(id))
	return nil
}
