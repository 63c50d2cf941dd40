/* Streams and events. */
#ifndef WARPGAUGE_TEST_FAKE_CUDA_STREAMS_H
#define WARPGAUGE_TEST_FAKE_CUDA_STREAMS_H

FAKE_EXPORT Result cuStreamCreate(Stream** stream, unsigned flags) {
  Result code = EnterContext("cuStreamCreate");
  if (code == 0 && flags > 1) code = kInvalidValue;
  if (code == 0) {
    *stream = NewObject(sizeof(Stream));
    (*stream)->id = next_stream++;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuStreamCreate", code, "%u", flags);
}

FAKE_EXPORT Result cuStreamDestroy_v2(Stream* stream) {
  Result code = EnterContext("cuStreamDestroy_v2");
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0) {
    WaitIdle();
    FreeObject(stream);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuStreamDestroy_v2", code, "%s", "");
}

FAKE_EXPORT Result cuStreamSynchronize(Stream* stream) {
  Result code = EnterContext("cuStreamSynchronize");
  if (code == 0 && stream == NULL) code = kInvalidValue;
  if (code == 0 && Number("ignore_sync", 0) == 0) WaitIdle();
  if (code == 0) {
    stream->unsynced = 0;
    FeedSynchronization(3, ContextId(CurrentDevice()), stream->id, FAKE_NO_ID);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuStreamSynchronize", code, "%s", "");
}

FAKE_EXPORT Result cuEventCreate(Event** event, unsigned flags) {
  Result code = EnterContext("cuEventCreate");
  if (code == 0) {
    *event = NewObject(sizeof(Event));
    (*event)->id = next_event++;
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuEventCreate", code, "%u", flags);
}

FAKE_EXPORT Result cuEventDestroy_v2(Event* event) {
  Result code = EnterContext("cuEventDestroy_v2");
  if (code == 0 && event == NULL) code = kInvalidValue;
  if (code == 0) {
    WaitIdle();
    FreeObject(event);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuEventDestroy_v2", code, "%s", "");
}

FAKE_EXPORT Result cuEventRecord(Event* event, Stream* stream) {
  Result code = EnterContext("cuEventRecord");
  if (code == 0 && (event == NULL || stream == NULL)) code = kInvalidValue;
  if (code == 0) {
    Op op = {.kind = kStamp, .stream = stream, .event = event};
    event->recorded = 1;
    event->complete = 0;
    event->stream = stream;
    Enqueue(op);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuEventRecord", code, "%s", "");
}

static Result Elapsed(const char* function,
                      float* milliseconds,
                      const Event* start,
                      const Event* stop) {
  Result code = EnterContext(function);
  if (code == 0 && (start == NULL || stop == NULL || !start->recorded || !stop->recorded)) {
    code = kInvalidValue;
  }
  if (code == 0 && stop->stream->unsynced) {
    code = Violation("time read without a stream synchronization after a copy");
  }
  if (code == 0 && Number("ignore_sync", 0) != 0) {
    *milliseconds = 0;
  } else if (code == 0 && (!start->complete || !stop->complete)) {
    code = kNotReady;
  } else if (code == 0) {
    *milliseconds = (float)((double)(stop->time_ns - start->time_ns) / 1e6);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave(function, code, "%s", "");
}

FAKE_EXPORT Result cuEventElapsedTime_v2(float* milliseconds, Event* start, Event* stop) {
  return Elapsed("cuEventElapsedTime_v2", milliseconds, start, stop);
}

FAKE_EXPORT Result cuEventElapsedTime(float* milliseconds, Event* start, Event* stop) {
  return Elapsed("cuEventElapsedTime", milliseconds, start, stop);
}

FAKE_EXPORT Result cuCtxSynchronize(void) {
  Result code = EnterContext("cuCtxSynchronize");
  if (code == 0 && Number("ignore_sync", 0) == 0) WaitIdle();
  if (code == 0) {
    default_stream.unsynced = 0;
    FeedSynchronization(4, ContextId(CurrentDevice()), FAKE_NO_ID, FAKE_NO_ID);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuCtxSynchronize", code, "%s", "");
}

FAKE_EXPORT Result cuEventSynchronize(const Event* event) {
  Result code = EnterContext("cuEventSynchronize");
  if (code == 0 && event == NULL) code = kInvalidValue;
  if (code == 0) {
    while (event->recorded && !event->complete) {
      pthread_cond_wait(&engine_changed, &engine_lock);
    }
    FeedSynchronization(1,
                        ContextId(CurrentDevice()),
                        event->stream != NULL ? event->stream->id : FAKE_NO_ID,
                        event->id);
  }
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuEventSynchronize", code, "%s", "");
}

/* The one engine carries out everything in the order it was queued: nothing is left to wait for. */
FAKE_EXPORT Result cuStreamWaitEvent(const Stream* stream, const Event* event, unsigned flags) {
  Result code = EnterContext("cuStreamWaitEvent");
  if (code == 0 && (stream == NULL || event == NULL || flags > 1)) code = kInvalidValue;
  if (code == 0) FeedSynchronization(2, ContextId(CurrentDevice()), stream->id, event->id);
  pthread_mutex_unlock(&engine_lock);
  return Leave("cuStreamWaitEvent", code, "%u", flags);
}

#endif
