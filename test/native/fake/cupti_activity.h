/* The exported activity functions; included by cupti.c, whose state they use. */
#ifndef WARPGAUGE_TEST_FAKE_CUPTI_ACTIVITY_H
#define WARPGAUGE_TEST_FAKE_CUPTI_ACTIVITY_H

FAKE_EXPORT CuptiResult cuptiActivityRegisterCallbacks(FakeRequest request, FakeComplete complete) {
  CuptiResult code;
  FollowScript();
  code = Enter("cuptiActivityRegisterCallbacks");
  if (code == 0 && (request == NULL || complete == NULL)) code = kInvalidParameter;
  if (code == 0) {
    pthread_mutex_lock(&buffers_lock);
    client_request = request;
    client_complete = complete;
    pthread_mutex_unlock(&buffers_lock);
  }
  return FakeLeave("cuptiActivityRegisterCallbacks", code, "%s", "");
}

static CuptiResult SetKind(const char* function, int kind, int on) {
  CuptiResult code = Enter(function);
  if (code == 0 && (kind <= 0 || kind >= kFakeKinds || generation->bytes[kind] == 0)) {
    code = kInvalidKind;
  }
  if (code == 0) {
    const uint64_t bit = 1ULL << kind | (kind == kFakeMemcpy ? 1ULL << kFakePeerMemcpy : 0);
    if (on) {
      __atomic_or_fetch(&enabled_kinds, bit, __ATOMIC_RELAXED);
    } else {
      __atomic_and_fetch(&enabled_kinds, ~bit, __ATOMIC_RELAXED);
    }
  }
  return FakeLeave(function, code, "%d", kind);
}

FAKE_EXPORT CuptiResult cuptiActivityEnable(int kind) {
  return SetKind("cuptiActivityEnable", kind, 1);
}

FAKE_EXPORT CuptiResult cuptiActivityEnableAndDump(int kind) {
  return SetKind("cuptiActivityEnableAndDump", kind, 1);
}

FAKE_EXPORT CuptiResult cuptiActivityDisable(int kind) {
  return SetKind("cuptiActivityDisable", kind, 0);
}

#if FAKE_CUPTI_GENERATION >= 1205
/* Single calls instead of the whole kind, which need not be enabled. */
static CuptiResult FilterApi(const char* function, int runtime, uint32_t cbid, uint8_t on) {
  CuptiResult code = Enter(function);
  size_t i;
  int any = 0;
  if (code == 0 && (cbid == 0 || cbid >= sizeof(filtered[0]))) code = kInvalidParameter;
  if (code == 0) {
    __atomic_store_n(&filtered[runtime][cbid], on != 0, __ATOMIC_RELAXED);
    for (i = 0; i < sizeof(filtered[0]); ++i) any |= filtered[runtime][i];
    __atomic_store_n(&filtering[runtime], any, __ATOMIC_RELAXED);
  }
  return FakeLeave(function, code, "%u, %u", cbid, on);
}

FAKE_EXPORT CuptiResult cuptiActivityEnableRuntimeApi(uint32_t cbid, uint8_t on) {
  return FilterApi("cuptiActivityEnableRuntimeApi", 1, cbid, on);
}

FAKE_EXPORT CuptiResult cuptiActivityEnableDriverApi(uint32_t cbid, uint8_t on) {
  return FilterApi("cuptiActivityEnableDriverApi", 0, cbid, on);
}
#endif

/* Called for every record: no lock and no log, unless the script is about it. */
FAKE_EXPORT CuptiResult cuptiActivityGetNextRecord(uint8_t* buffer, size_t valid, void** record) {
  size_t at = 0, bytes;
  uint32_t kind;
  if (__atomic_load_n(&step_scripted, __ATOMIC_RELAXED)) {
    const CuptiResult code = Enter("cuptiActivityGetNextRecord");
    if (code != 0) return code;
  }
  if (buffer == NULL || record == NULL) return kInvalidParameter;
  if (*record != NULL) {
    at = (size_t)((uint8_t*)*record - buffer);
    memcpy(&kind, *record, sizeof(kind));
    at += kind < kFakeKinds ? generation->bytes[kind] : 0U;
  }
  if (at >= valid || valid - at < sizeof(kind)) return kMaxLimitReached;
  memcpy(&kind, buffer + at, sizeof(kind));
  bytes = kind < kFakeKinds ? generation->bytes[kind] : 0;
  if (bytes == 0) return generation->unknown_kind;
  if (bytes > valid - at) return kMaxLimitReached;
  *record = buffer + at;
  return 0;
}

FAKE_EXPORT CuptiResult cuptiActivityGetNumDroppedRecords(void* context,
                                                          uint32_t stream,
                                                          size_t* dropped) {
  CuptiResult code = Enter("cuptiActivityGetNumDroppedRecords");
  (void)context;
  (void)stream;
  if (code == 0 && dropped == NULL) code = kInvalidParameter;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *dropped = (size_t)FakeNext("cupti_dropped", 0);
    pthread_mutex_unlock(&fake_lock);
    *dropped += __atomic_exchange_n(&dropped_records, 0, __ATOMIC_RELAXED);
  }
  return FakeLeave("cuptiActivityGetNumDroppedRecords", code, "%zu", code == 0 ? *dropped : 0);
}

FAKE_EXPORT CuptiResult cuptiActivityFlushAll(uint32_t flag) {
  CuptiResult code = Enter("cuptiActivityFlushAll");
  if (code == 0 && flag > 1) code = kInvalidParameter;
  if (code == 0) FlushBuffers(flag == 1);
  return FakeLeave("cuptiActivityFlushAll", code, "%u", flag);
}

/* Full buffers go anyway, and partly filled ones it does not return: nothing is left to do. */
FAKE_EXPORT CuptiResult cuptiActivityFlushPeriod(uint32_t milliseconds) {
  const CuptiResult code = Enter("cuptiActivityFlushPeriod");
  return FakeLeave("cuptiActivityFlushPeriod", code, "%u", milliseconds);
}

/* Bytes of an attribute's value; 0: this generation does not have it. */
static size_t AttributeBytes(int attribute) {
  if (attribute < 0 || attribute >= kAttributes) return 0;
  if (attribute == 9 && generation->number < 1203) return 0;
  if (attribute == 10 && generation->number < 1209) return 0;
  return attribute == 5 || attribute == 8 || attribute == 9 ? 1 : sizeof(size_t);
}

static CuptiResult CheckAttribute(CuptiResult code,
                                  int attribute,
                                  const size_t* size,
                                  const void* value) {
  if (code != 0) return code;
  if (size == NULL || value == NULL || AttributeBytes(attribute) == 0) return kInvalidParameter;
  return *size < AttributeBytes(attribute) ? kSizeNotSufficient : 0;
}

FAKE_EXPORT CuptiResult cuptiActivityGetAttribute(int attribute, size_t* size, void* value) {
  CuptiResult code = CheckAttribute(Enter("cuptiActivityGetAttribute"), attribute, size, value);
  pthread_mutex_lock(&cupti_lock);
  if (code == 0) {
    *size = AttributeBytes(attribute);
    memcpy(value, &attributes[attribute], *size); /* little endian */
  }
  pthread_mutex_unlock(&cupti_lock);
  return FakeLeave("cuptiActivityGetAttribute", code, "%d", attribute);
}

FAKE_EXPORT CuptiResult cuptiActivitySetAttribute(int attribute, size_t* size, void* value) {
  CuptiResult code = CheckAttribute(Enter("cuptiActivitySetAttribute"), attribute, size, value);
  unsigned long long number = 0;
  pthread_mutex_lock(&cupti_lock);
  if (code == 0) {
    attributes[attribute] = 0;
    memcpy(&attributes[attribute], value, AttributeBytes(attribute));
    number = attributes[attribute];
    if (attribute == 5) __atomic_store_n(&client_zeroes, (int)number, __ATOMIC_RELAXED);
    if (attribute == 9) __atomic_store_n(&thread_buffers, (int)number, __ATOMIC_RELAXED);
  }
  pthread_mutex_unlock(&cupti_lock);
  return FakeLeave("cuptiActivitySetAttribute", code, "%d, %llu", attribute, number);
}

#if FAKE_CUPTI_GENERATION >= 1106
FAKE_EXPORT CuptiResult cuptiActivityRegisterTimestampCallback(FakeClock clock) {
  CuptiResult code = Enter("cuptiActivityRegisterTimestampCallback");
  if (code == 0 && clock == NULL) code = kInvalidParameter;
  if (code == 0) __atomic_store_n(&client_clock, clock, __ATOMIC_RELEASE);
  return FakeLeave("cuptiActivityRegisterTimestampCallback", code, "%s", "");
}
#endif

FAKE_EXPORT CuptiResult cuptiActivityEnableLatencyTimestamps(uint8_t on) {
  const CuptiResult code = Enter("cuptiActivityEnableLatencyTimestamps");
  return FakeLeave("cuptiActivityEnableLatencyTimestamps", code, "%u", on);
}

/* 0: what pthread_self gives; 1: what gettid gives. */
FAKE_EXPORT CuptiResult cuptiSetThreadIdType(int type) {
  CuptiResult code = Enter("cuptiSetThreadIdType");
  if (code == 0 && (type < 0 || type > 1)) code = kInvalidParameter;
  if (code == 0) __atomic_store_n(&system_thread_ids, type, __ATOMIC_RELAXED);
  return FakeLeave("cuptiSetThreadIdType", code, "%d", type);
}

/* Needs an initialized driver, and comes before kind 25 is enabled. */
FAKE_EXPORT CuptiResult cuptiActivityConfigureUnifiedMemoryCounter(const uint32_t* configurations,
                                                                   uint32_t count) {
  CuptiResult code = Enter("cuptiActivityConfigureUnifiedMemoryCounter");
  if (code == 0 && (configurations == NULL || count == 0)) code = kInvalidParameter;
  pthread_mutex_lock(&cupti_lock);
  if (code == 0 && !cuda_initialized) code = kNotInitialized;
  pthread_mutex_unlock(&cupti_lock);
  if (code == 0) {
    __atomic_store_n(&managed_configured, 1, __ATOMIC_RELAXED);
    if (IsEnabled(kFakeManaged)) CuptiViolation("unified memory configured after it was enabled");
  }
  return FakeLeave("cuptiActivityConfigureUnifiedMemoryCounter", code, "%u", count);
}

FAKE_EXPORT CuptiResult cuptiActivityPushExternalCorrelationId(int kind, uint64_t id) {
  CuptiResult code = Enter("cuptiActivityPushExternalCorrelationId");
  if (code == 0 && (kind < 1 || kind >= kExternalKinds || external[kind].depth == kExternalDepth)) {
    code = kInvalidParameter;
  }
  if (code == 0) external[kind].ids[external[kind].depth++] = id;
  return FakeLeave(
      "cuptiActivityPushExternalCorrelationId", code, "%d, %llu", kind, (unsigned long long)id);
}

FAKE_EXPORT CuptiResult cuptiActivityPopExternalCorrelationId(int kind, uint64_t* last) {
  CuptiResult code = Enter("cuptiActivityPopExternalCorrelationId");
  if (code == 0 && (kind < 1 || kind >= kExternalKinds)) code = kInvalidParameter;
  if (code == 0 && external[kind].depth == 0) code = kQueueEmpty;
  if (code == 0) {
    --external[kind].depth;
    if (last != NULL) *last = external[kind].ids[external[kind].depth];
  }
  return FakeLeave("cuptiActivityPopExternalCorrelationId", code, "%d", kind);
}

/* Hands over what there is and lets the client go. */
FAKE_EXPORT CuptiResult cuptiFinalize(void) {
  const CuptiResult code = Enter("cuptiFinalize");
  if (code == 0) {
    FlushBuffers(1);
    pthread_mutex_lock(&cupti_lock);
    ResetClient();
    pthread_mutex_unlock(&cupti_lock);
  }
  return FakeLeave("cuptiFinalize", code, "%s", "");
}

#if FAKE_CUPTI_GENERATION >= 1202
FAKE_EXPORT CuptiResult cuptiGetErrorMessage(CuptiResult result, const char** text) {
  return cuptiGetResultString(result, text);
}
#endif

#endif
