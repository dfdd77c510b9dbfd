package imstest

import (
	"encoding/json"
	"fmt"
)

// Quirk is a way in which an answer differs from the documented one.
type Quirk string

// Quirks of a job's state, for OpJob, OpJobByID and OpJobProject. All have been
// seen in published examples, bug reports or other clients' code.
const (
	QuirkNoImageID       Quirk = "no-image-id"      // no image id, SUCCESS or not
	QuirkEarlyImageID    Quirk = "early-image-id"   // the image id only while RUNNING
	QuirkSubJobImageID   Quirk = "sub-job-image-id" // the image id only in entities.sub_jobs_result
	QuirkSubJobReason    Quirk = "sub-job-reason"   // code and reason of a failure only in entities.sub_jobs_result
	QuirkEntitiesReason  Quirk = "entities-reason"  // code and reason of a failure only in entities
	QuirkPercentFraction Quirk = "percent-fraction" // process_percent 0.42 for 42
	QuirkPercentString   Quirk = "percent-string"   // process_percent "42"
	QuirkPercentNull     Quirk = "percent-null"     // process_percent null
	QuirkPercentNegative Quirk = "percent-negative" // process_percent -5
	QuirkPercentHuge     Quirk = "percent-huge"     // process_percent 1e300
	QuirkPercentObject   Quirk = "percent-object"   // process_percent {"value":42}
	QuirkEntitiesList    Quirk = "entities-list"    // entities a list of one
	QuirkEntitiesNull    Quirk = "entities-null"    // entities null
	QuirkEntitiesString  Quirk = "entities-string"  // entities its JSON as a string
	QuirkErrorObjects    Quirk = "error-objects"    // error fields objects with code and message
	QuirkErrorNumbers    Quirk = "error-numbers"    // error fields numbers
	QuirkLocalTimes      Quirk = "local-times"      // times as 04-Jun-2015 18:11:06:586, "" while running
	QuirkForeignTypes    Quirk = "foreign-types"    // job_id, job_type and times numbers
	QuirkNoStatus        Quirk = "no-status"        // no status
	QuirkIgnoreMarker    Quirk = "ignore-marker"    // for OpImages: the marker has no effect, so that the same page comes for ever
	QuirkEndlessImages   Quirk = "endless-images"   // for OpImages: every page is full of images that are not there
	QuirkUnsolicited     Quirk = "unsolicited"      // for all: after the answer the request is sent back on the idle connection
	QuirkRival           Quirk = "rival"            // for OpPutObject and OpComplete: another host's object of the same size takes the place of what was stored
	QuirkOpaqueETag      Quirk = "opaque-etag"      // for the object store: the ETag is no digest
	QuirkWeakETag        Quirk = "weak-etag"        // for the object store: W/"..."
	QuirkUpperETag       Quirk = "upper-etag"       // for the object store: digits above 9 in upper case
	QuirkBareETag        Quirk = "bare-etag"        // for the object store: no quotes
	QuirkNoETag          Quirk = "no-etag"          // for the object store: no ETag
)

type quirkFunc func(job map[string]any, entities map[string]any)

// quirks are those that change the JSON of a job; the others act where their effect is.
var quirks = map[Quirk]quirkFunc{
	QuirkNoImageID: func(_, ent map[string]any) { delete(ent, "image_id") },
	QuirkEarlyImageID: func(job, ent map[string]any) {
		if job["status"] != "RUNNING" {
			delete(ent, "image_id")
		}
	},
	QuirkSubJobImageID:   subJobImageID,
	QuirkSubJobReason:    subJobReason,
	QuirkEntitiesReason:  func(job, _ map[string]any) { job["error_code"], job["fail_reason"] = nil, nil },
	QuirkPercentFraction: percentAs(func(p any) any { f, _ := p.(float64); return f / 100 }),
	QuirkPercentString:   percentAs(func(p any) any { return fmt.Sprint(p) }),
	QuirkPercentNull:     percentAs(func(any) any { return nil }),
	QuirkPercentNegative: percentAs(func(any) any { return -5 }),
	QuirkPercentHuge:     percentAs(func(any) any { return 1e300 }),
	QuirkPercentObject:   percentAs(func(p any) any { return map[string]any{"value": p} }),
	QuirkEntitiesList:    func(job, ent map[string]any) { job["entities"] = []any{ent} },
	QuirkEntitiesNull:    func(job, _ map[string]any) { job["entities"] = nil },
	QuirkEntitiesString:  func(job, ent map[string]any) { job["entities"] = string(marshal(ent)) },
	QuirkErrorObjects: errorFields(func(code, reason any) (any, any) {
		return map[string]any{"value": code}, map[string]any{"code": code, "message": reason}
	}),
	QuirkErrorNumbers: errorFields(func(any, any) (any, any) { return 57, 400 }),
	QuirkLocalTimes: func(job, _ map[string]any) {
		job["begin_time"] = "04-Jun-2015 18:11:06:586"
		if job["end_time"] = ""; job["status"] == "SUCCESS" || job["status"] == "FAIL" {
			job["end_time"] = "04-Jun-2015 18:15:06:112"
		}
	},
	QuirkForeignTypes: func(job, _ map[string]any) {
		job["job_id"], job["job_type"], job["begin_time"], job["end_time"] = 42, 7, 1433441466, 0
	},
	QuirkNoStatus: func(job, _ map[string]any) { delete(job, "status") },
}

// otherQuirks are those that are not a matter of a job's JSON.
var otherQuirks = []Quirk{QuirkIgnoreMarker, QuirkEndlessImages, QuirkUnsolicited, QuirkRival,
	QuirkOpaqueETag, QuirkWeakETag, QuirkUpperETag, QuirkBareETag, QuirkNoETag}

func percentAs(f func(any) any) quirkFunc {
	return func(_, ent map[string]any) {
		if p, ok := ent["process_percent"]; ok {
			ent["process_percent"] = f(p)
		}
	}
}

func errorFields(f func(code, reason any) (any, any)) quirkFunc {
	set := func(m map[string]any, code, reason string) {
		if m[code] != nil {
			m[code], m[reason] = f(m[code], m[reason])
		}
	}
	return func(job, ent map[string]any) {
		set(job, "error_code", "fail_reason")
		set(ent, "error_code", "error")
		set(ent, "addition_error_code", "addition_error_msg")
	}
}

// subJob moves what is known of the image or the failure to a job below the job.
func subJob(job, ent map[string]any) map[string]any {
	sub := map[string]any{"job_id": job["job_id"], "job_type": "imsImportBigFileImageJob", "status": job["status"],
		"begin_time": job["begin_time"], "end_time": job["end_time"], "error_code": nil, "fail_reason": nil,
		"entities": map[string]any{"image_name": ent["image_name"]}}
	list, _ := ent["sub_jobs_result"].([]any)
	ent["sub_jobs_result"] = append(list, sub)
	return sub
}

func subJobImageID(job, ent map[string]any) {
	if id, ok := ent["image_id"]; ok {
		subJob(job, ent)["entities"].(map[string]any)["image_id"] = id
		delete(ent, "image_id")
	}
}

func subJobReason(job, ent map[string]any) {
	if job["error_code"] == nil {
		return
	}
	sub := subJob(job, ent)
	sub["error_code"], sub["fail_reason"] = job["error_code"], job["fail_reason"]
	job["error_code"], job["fail_reason"] = nil, nil
	for _, k := range []string{"error_code", "error", "addition_error_code", "addition_error_msg"} {
		delete(ent, k)
	}
}

// change applies a fault's changes to the JSON of an answer.
func (f *Fault) change(op Op, v any) any {
	if f == nil || len(f.Quirks) == 0 && f.JobStatus == "" && f.Edit == nil {
		return v
	}
	doc := map[string]any{}
	if json.Unmarshal(marshal(v), &doc) != nil {
		return v
	}
	if OpJob.covers(op) {
		ent, _ := doc["entities"].(map[string]any)
		for _, q := range f.Quirks {
			if change := quirks[q]; change != nil {
				change(doc, ent)
			}
		}
		if f.JobStatus != "" {
			doc["status"] = f.JobStatus
		}
	}
	if f.Edit != nil {
		f.Edit(doc)
	}
	return doc
}
