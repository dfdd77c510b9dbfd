package imstest

import (
	"net/http"
	"strings"
)

// Op names an operation of the cloud: what a request asks for.
type Op string

// The operations of the image service and the identity service.
const (
	OpCreate     Op = "create"       // POST /v2/cloudimages/quickimport/action, v2.1 included
	OpJob        Op = "job"          // in a Fault: either endpoint of a job's state
	OpJobByID    Op = "job-by-id"    // GET /v1/cloudimages/job/{id}, with progress
	OpJobProject Op = "job-project"  // GET /v1/{project_id}/jobs/{id}
	OpImages     Op = "images"       // GET /v2/cloudimages
	OpOSVersions Op = "os-versions"  // GET /v1/cloudimages/os_version
	OpQuota      Op = "quota"        // GET /v1/cloudimages/quota
	OpDelete     Op = "delete-image" // DELETE /v2/images/{id}
	OpProjects   Op = "projects"     // GET /v3/projects
)

// The operations of the object store.
const (
	OpPutObject    Op = "put-object"
	OpGetObject    Op = "get-object"
	OpHeadObject   Op = "head-object"
	OpDeleteObject Op = "delete-object"
	OpListObjects  Op = "list-objects"
	OpHeadBucket   Op = "head-bucket"
	OpLocation     Op = "bucket-location"
	OpEncryption   Op = "bucket-encryption"
	OpVersioning   Op = "bucket-versioning"
	OpCreateUpload Op = "create-upload"
	OpUploadPart   Op = "upload-part"
	OpCopyPart     Op = "copy-part"
	OpComplete     Op = "complete-upload"
	OpAbort        Op = "abort-upload"
	OpListParts    Op = "list-parts"
	OpListUploads  Op = "list-uploads"
)

var allOps = []Op{
	OpCreate, OpJob, OpJobByID, OpJobProject, OpImages, OpOSVersions, OpQuota, OpDelete, OpProjects,
	OpPutObject, OpGetObject, OpHeadObject, OpDeleteObject, OpListObjects, OpHeadBucket, OpLocation, OpEncryption, OpVersioning,
	OpCreateUpload, OpUploadPart, OpCopyPart, OpComplete, OpAbort, OpListParts, OpListUploads,
}

// covers reports whether an operation named in a fault covers got.
func (o Op) covers(got Op) bool {
	return o == "" || o == got || o == OpJob && (got == OpJobByID || got == OpJobProject)
}

// operation names what a request asks for, "" if there is no such operation.
func operation(service string, r *http.Request) Op {
	switch service {
	case OBS:
		return obsOperation(r)
	case IAM:
		if r.Method == http.MethodGet && strings.TrimSuffix(r.URL.Path, "/") == "/v3/projects" {
			return OpProjects
		}
		return ""
	}
	return imsOperation(r)
}

func imsOperation(r *http.Request) Op {
	seg := segments(r.URL.Path)
	switch r.Method + " " + strings.Join(seg, "/") {
	case "POST v2/cloudimages/quickimport/action", "POST v2.1/cloudimages/quickimport/action":
		return OpCreate
	case "GET v2/cloudimages":
		return OpImages
	case "GET v1/cloudimages/os_version":
		return OpOSVersions
	case "GET v1/cloudimages/quota":
		return OpQuota
	}
	switch {
	case r.Method == http.MethodDelete && len(seg) == 3 && seg[0] == "v2" && seg[1] == "images":
		return OpDelete
	case r.Method != http.MethodGet || len(seg) != 4 || seg[0] != "v1":
		return ""
	case seg[1] == "cloudimages" && seg[2] == "job":
		return OpJobByID
	case seg[2] == "jobs":
		return OpJobProject
	}
	return ""
}

func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

// obsOperation names an operation by method, query and whether there is a key.
// It returns "" if the address is refused.
func obsOperation(r *http.Request) Op {
	bucket, key, err := address(r)
	if err != nil || bucket == "" {
		return ""
	}
	q := r.URL.Query()
	switch {
	case key == "":
		return bucketOperation(r.Method, q.Has)
	case q.Has("uploads") || q.Has("uploadId"):
		return uploadOperation(r, q.Has)
	}
	return map[string]Op{http.MethodPut: OpPutObject, http.MethodGet: OpGetObject, http.MethodHead: OpHeadObject,
		http.MethodDelete: OpDeleteObject}[r.Method]
}

func bucketOperation(method string, has func(string) bool) Op {
	switch {
	case method == http.MethodHead:
		return OpHeadBucket
	case method != http.MethodGet:
		return ""
	case has("location"):
		return OpLocation
	case has("encryption"):
		return OpEncryption
	case has("versioning"):
		return OpVersioning
	case has("uploads"):
		return OpListUploads
	}
	return OpListObjects
}

func uploadOperation(r *http.Request, has func(string) bool) Op {
	switch {
	case has("uploads") && r.Method == http.MethodPost:
		return OpCreateUpload
	case has("uploads"):
		return ""
	case r.Method == http.MethodPut && r.Header.Get(copyFrom) != "":
		return OpCopyPart
	}
	return map[string]Op{http.MethodPut: OpUploadPart, http.MethodGet: OpListParts, http.MethodPost: OpComplete,
		http.MethodDelete: OpAbort}[r.Method]
}
