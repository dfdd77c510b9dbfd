package imstest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Image is an image of the service.
type Image struct {
	ID                  string            `json:"id"`
	Name                string            `json:"name"`
	Description         string            `json:"description"`
	Status              string            `json:"status"`       // queued, active
	Type                string            `json:"type"`         // ECS, BMS, DataImage
	OSVersion           string            `json:"os_version"`   // of system disks
	OSType              string            `json:"os_type"`      // Linux, Windows
	Architecture        string            `json:"architecture"` // x86, arm
	Firmware            string            `json:"firmware"`     // bios, uefi
	License             string            `json:"license"`      // platform, byol
	EnterpriseProjectID string            `json:"enterprise_project_id"`
	Tags                map[string]string `json:"tags"`      // by key, of either form of request
	MinDisk             int               `json:"min_disk"`  // GB
	Bucket              string            `json:"bucket"`    // of the object it is made of
	Key                 string            `json:"key"`       // of that object
	Format              string            `json:"format"`    // raw, zvhd2
	DiskSize            int64             `json:"disk_size"` // bytes
	Created             time.Time         `json:"created"`   // by the server's clock
	JobID               string            `json:"job_id"`    // of the job that makes it
}

// Job is a job of the service.
type Job struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Status    string    `json:"status"`   // INIT, RUNNING, SUCCESS, FAIL
	Begin     time.Time `json:"begin"`    // by the server's clock
	End       time.Time `json:"end"`      // zero while it runs
	Percent   int       `json:"percent"`  // 0 to 100
	ImageID   string    `json:"image_id"` // of the image it makes
	ImageName string    `json:"image_name"`
	Code      string    `json:"code"`   // of its failure
	Reason    string    `json:"reason"` // of its failure
	Detail    string    `json:"detail"` // the nested reason
}

// jobState is a job as it is kept.
type jobState struct {
	Job
	FailWith string `json:"fail_with,omitempty"` // the code and reason that a fault gave it
	FailWhy  string `json:"fail_why,omitempty"`
}

type imsService struct {
	*Server
	ctx context.Context // ends with the server; jobs outlive their requests
	wg  sync.WaitGroup
	dir string

	mu     sync.Mutex // guards what follows and the structs in it
	images map[string]*Image
	jobs   map[string]*jobState
}

func newIMS(ctx context.Context, s *Server) (*imsService, error) {
	m := &imsService{Server: s, ctx: ctx, dir: s.store.path("ims"), images: map[string]*Image{}, jobs: map[string]*jobState{}}
	for _, d := range []string{"images", "jobs"} {
		if err := os.MkdirAll(s.store.path("ims", d), 0o755); err != nil {
			return nil, fmt.Errorf("imstest: make state directory: %w", err)
		}
	}
	err := eachJSON(s.store.path("ims", "images"), func(i *Image) error { m.images[i.ID] = i; return nil })
	if err != nil {
		return nil, err
	}
	return m, eachJSON(s.store.path("ims", "jobs"), func(j *jobState) error { m.jobs[j.ID] = j; return nil })
}

func (m *imsService) imageFile(id string) string { return m.store.path("ims", "images", id+".json") }
func (m *imsService) jobFile(id string) string   { return m.store.path("ims", "jobs", id+".json") }

func (m *imsService) serve(w http.ResponseWriter, r *http.Request, f *Fault) {
	body, _ := io.ReadAll(r.Body)
	if e := m.authenticate(r, body); e != nil {
		writeAPIError(w, r, e)
		return
	}
	seg := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	path := strings.Join(seg, "/")
	var v any
	var e *apiError
	switch get := r.Method == http.MethodGet; {
	case r.Method == http.MethodPost && (path == "v2/cloudimages/quickimport/action" || path == "v2.1/cloudimages/quickimport/action"):
		v, e = m.create(body, f)
	case get && path == "v1/cloudimages/quota":
		v = m.quotas()
	case get && len(seg) == 4 && seg[0] == "v1" && seg[1] == "cloudimages" && seg[2] == "job":
		v, e = m.job(seg[3], true)
	case get && len(seg) == 4 && seg[0] == "v1" && seg[2] == "jobs":
		if seg[1] != m.projectID {
			e = &apiError{http.StatusForbidden, "APIGW.0302", "The project does not belong to the user."}
			break
		}
		v, e = m.job(seg[3], false)
	case get && path == "v2/cloudimages":
		v, e = m.list(r)
	case r.Method == http.MethodDelete && len(seg) == 3 && seg[0] == "v2" && seg[1] == "images":
		if e = m.delete(seg[2]); e == nil {
			w.Header().Set("X-Request-Id", requestID(r))
			w.WriteHeader(http.StatusNoContent)
			return
		}
	default:
		e = &apiError{http.StatusNotFound, "APIGW.0101", "The API does not exist or has not been published in the environment."}
	}
	if e != nil {
		writeAPIError(w, r, e)
		return
	}
	writeJSONAnswer(w, r, http.StatusOK, v)
}

func (m *imsService) serveIAM(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if e := m.authenticate(r, body); e != nil {
		writeAPIError(w, r, e)
		return
	}
	if r.Method != http.MethodGet || strings.TrimSuffix(r.URL.Path, "/") != "/v3/projects" {
		writeAPIError(w, r, &apiError{http.StatusNotFound, "APIGW.0101", "The API does not exist."})
		return
	}
	projects := []map[string]any{}
	if n := r.URL.Query().Get("name"); n == "" || n == m.region {
		projects = append(projects, map[string]any{"id": m.projectID, "name": m.region, "enabled": true, "is_domain": false})
	}
	writeJSONAnswer(w, r, http.StatusOK, map[string]any{"projects": projects, "links": map[string]any{"self": r.URL.Path}})
}

func (m *imsService) quotas() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return map[string]any{"quotas": map[string]any{"resources": []map[string]any{
		{"type": "image", "used": len(m.images), "quota": m.quota, "min": 0, "max": m.quota}}}}
}

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (m *imsService) job(id string, progress bool) (any, *apiError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[id]
	if j == nil {
		return nil, &apiError{http.StatusNotFound, "IMG.0027", "The job does not exist."}
	}
	ent := map[string]any{"image_name": j.ImageName}
	if progress {
		ent["current_task"], ent["process_percent"] = j.Type, j.Percent
	}
	if j.Status == "SUCCESS" {
		ent["image_id"] = j.ImageID
	}
	if j.Status == "FAIL" {
		ent["error_code"], ent["error"] = j.Code, j.Reason
		ent["addition_error_code"], ent["addition_error_msg"] = j.Code, j.Detail
	}
	return map[string]any{"job_id": j.ID, "job_type": j.Type, "status": j.Status, "begin_time": stamp(j.Begin),
		"end_time": stamp(j.End), "error_code": null(j.Code), "fail_reason": null(j.Reason), "entities": ent}, nil
}

// maxPage is how many images the service lists when no limit is given.
const maxPage = 500

// list gives the images that the query asks for: those after the marker, at
// most limit. The service has no other images than private ones.
func (m *imsService) list(r *http.Request) (any, *apiError) {
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
	if id := q.Get("marker"); id != "" {
		at := slices.IndexFunc(all, func(i Image) bool { return i.ID == id })
		if at < 0 {
			return nil, bad("IMG.0001", "The request message format is invalid: marker.")
		}
		all = all[at+1:]
	}
	for _, i := range all {
		if i.listed(q) && len(out) < limit {
			out = append(out, i.view())
		}
	}
	return map[string]any{"images": out}, nil
}

func (i Image) listed(q url.Values) bool {
	for field, value := range map[string]string{"id": i.ID, "name": i.Name, "status": i.Status, "__imagetype": "private"} {
		if q.Get(field) != "" && q.Get(field) != value {
			return false
		}
	}
	return !q.Has("name") || q.Get("name") == i.Name
}

func (i Image) view() map[string]any {
	tags := []string{}
	for k, v := range i.Tags {
		tags = append(tags, k+"."+v)
	}
	sort.Strings(tags)
	env := map[string]string{"DataImage": "DataImage", "BMS": "Ironic"}[i.Type]
	if env == "" {
		env = "FusionCompute"
	}
	v := map[string]any{"id": i.ID, "name": i.Name, "status": i.Status, "min_disk": i.MinDisk, "min_ram": 0, "tags": tags,
		"visibility": "private", "__imagetype": "private", "__image_source_type": "uds", "__description": i.Description,
		"__os_type": i.OSType, "__os_version": i.OSVersion, "__data_origin": "file," + i.Bucket + ":" + i.Key, "__image_size": fmt.Sprint(i.DiskSize),
		"enterprise_project_id": i.EnterpriseProjectID, "virtual_env_type": env, "disk_format": "zvhd2", "hw_firmware_type": i.Firmware,
		"created_at": i.Created.UTC().Format(time.RFC3339), "updated_at": i.Created.UTC().Format(time.RFC3339), "protected": false}
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
	_ = os.Remove(m.imageFile(id))
	return nil
}
