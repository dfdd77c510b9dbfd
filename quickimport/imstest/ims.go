package imstest

import (
	"context"
	"io"
	"net/http"
	"os"
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
	Tags                map[string]string `json:"tags"`       // by key, of either form of request
	MinDisk             int               `json:"min_disk"`   // GB
	Bucket              string            `json:"bucket"`     // of the object it was made from
	Key                 string            `json:"key"`        // of that object
	Format              string            `json:"format"`     // raw, zvhd2
	DiskSize            int64             `json:"disk_size"`  // bytes
	Created             time.Time         `json:"created"`    // by the server's clock
	JobID               string            `json:"job_id"`     // of the job that makes it, "" after AddImage
	Visibility          string            `json:"visibility"` // private, public, shared
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
	FailWith string `json:"fail_with,omitempty"` // set by a fault
	FailWhy  string `json:"fail_why,omitempty"`
}

// maxReaders bounds the jobs that read their objects at a time, each of which
// buffers a record and a block. The others wait.
const maxReaders = 4

type imsService struct {
	*Server
	ctx context.Context // ends with the server; jobs outlive their requests
	wg  sync.WaitGroup

	readers chan struct{} // a place for each job that reads its object

	mu     sync.Mutex // guards what follows and the structs in it
	images map[string]*Image
	jobs   map[string]*jobState
	late   map[string]int // by image id: how many more lists leave it out, -1 until ListImages
}

func newIMS(ctx context.Context, s *Server) (*imsService, error) {
	m := &imsService{Server: s, ctx: ctx, images: map[string]*Image{}, jobs: map[string]*jobState{}, late: map[string]int{},
		readers: make(chan struct{}, maxReaders)}
	for _, d := range []string{"images", "jobs"} {
		if err := os.MkdirAll(s.store.path("ims", d), 0o755); err != nil {
			return nil, errs.Errorf("create state directory: %w", err)
		}
	}
	err := eachJSON(s.store.path("ims", "images"), func(i *Image) error {
		if i.Visibility == "" {
			i.Visibility = visiblePrivate // written by an earlier version
		}
		m.images[i.ID] = i
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, eachJSON(s.store.path("ims", "jobs"), func(j *jobState) error { m.jobs[j.ID] = j; return nil })
}

func (m *imsService) imageFile(id string) string { return m.store.path("ims", "images", id+".json") }
func (m *imsService) jobFile(id string) string   { return m.store.path("ims", "jobs", id+".json") }

func (m *imsService) serve(w http.ResponseWriter, r *http.Request, op Op, f *Fault) {
	body, _ := io.ReadAll(r.Body)
	if e := m.authenticate(r, body); e != nil {
		writeAPIError(w, r, e)
		return
	}
	v, e := m.perform(r, body, op, f)
	switch {
	case e != nil:
		writeAPIError(w, r, e)
	case op == OpDelete:
		w.Header().Set("X-Request-Id", requestID(r))
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSONAnswer(w, r, http.StatusOK, f.change(op, v))
	}
}

func (m *imsService) perform(r *http.Request, body []byte, op Op, f *Fault) (any, *apiError) {
	seg := segments(r.URL.Path)
	last := seg[len(seg)-1]
	switch op {
	case OpCreate:
		return m.create(body, f)
	case OpQuota:
		return m.quotas(), nil
	case OpJobByID:
		return m.job(last, true)
	case OpJobProject:
		if seg[1] != m.projectID {
			return nil, &apiError{http.StatusForbidden, "APIGW.0302", "The project does not belong to the user."}
		}
		return m.job(last, false)
	case OpImages:
		return m.list(r, f)
	case OpOSVersions:
		return m.listOSVersions(r.URL.Query()), nil
	case OpDelete:
		return nil, m.delete(last)
	}
	return nil, &apiError{http.StatusNotFound, "APIGW.0101", "The API does not exist or has not been published in the environment."}
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
		{"type": "image", "used": m.private(), "quota": m.quota, "min": 0, "max": m.quota}}}}
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

// stateOf returns the state of the job that a request asks about, "" if there is none.
func (m *imsService) stateOf(r *Request) string {
	if !OpJob.covers(r.Op) {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seg := segments(r.Path)
	if j := m.jobs[seg[len(seg)-1]]; j != nil {
		return j.Status
	}
	return ""
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
	if j.Status == "RUNNING" || j.Status == "SUCCESS" {
		ent["image_id"] = j.ImageID
	}
	if j.Status == "FAIL" {
		ent["error_code"], ent["error"] = j.Code, j.Reason
		ent["addition_error_code"], ent["addition_error_msg"] = j.Code, j.Detail
	}
	return map[string]any{"job_id": j.ID, "job_type": j.Type, "status": j.Status, "begin_time": stamp(j.Begin),
		"end_time": stamp(j.End), "error_code": null(j.Code), "fail_reason": null(j.Reason), "entities": ent}, nil
}
