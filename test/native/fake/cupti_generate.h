/*
 * Records in bulk for benches: through the client's buffers as all others, but cheap enough that
 * what is measured is the client. 64 kernel names, as a model has; lengths alternate, so that there
 * is nothing to shuffle.
 */
#ifndef WARPGAUGE_TEST_FAKE_CUPTI_GENERATE_H
#define WARPGAUGE_TEST_FAKE_CUPTI_GENERATE_H

#include "cupti_feed.h"

enum { kGeneratedNames = 64, kGeneratedBatch = 256 };

static void GeneratedActivities(struct fake_activity* kernel, struct fake_activity* copy) {
  memset(kernel, 0, sizeof(*kernel));
  kernel->kind = kFakeKernel;
  kernel->context = 1;
  kernel->stream = 13;
  kernel->of.kernel.grid[0] = 132;
  kernel->of.kernel.grid[1] = kernel->of.kernel.grid[2] = 1;
  kernel->of.kernel.block[0] = 256;
  kernel->of.kernel.block[1] = kernel->of.kernel.block[2] = 1;
  kernel->of.kernel.registers_per_thread = 32;
  memset(copy, 0, sizeof(*copy));
  copy->kind = kFakeMemcpy;
  copy->context = 1;
  copy->stream = 14;
  copy->of.copy.bytes = 65536;
  copy->of.copy.copy_kind = 1;
  copy->of.copy.source = 2;
  copy->of.copy.destination = 3;
  copy->of.copy.async = 1;
}

/* One record from its template. buffers_lock held. 0: dropped. */
static int WriteGenerated(const uint8_t* template,
                          uint32_t kind,
                          uint64_t start,
                          uint32_t correlation,
                          const char* name) {
  FakeBuffer* buffer;
  uint8_t* place = TakePlace(generation->bytes[kind], &buffer);
  if (place == NULL) return 0;
  memcpy(place, template, generation->bytes[kind]);
  FakePutTimes(place, kind, start, start + 1000 + correlation % 1000);
  FakePut32(place + (kind == kFakeKernel ? 92 : 44), correlation);
  if (kind == kFakeKernel) FakePutPointer(place + 104, name);
  return 1;
}

FAKE_EXPORT uint64_t warpgauge_fake_cupti_generate(uint64_t records, uint64_t per_second) {
  uint8_t templates[2][256];
  struct fake_activity activities[2];
  const char* texts[kGeneratedNames];
  const int64_t begin = FakeNow();
  uint64_t made = 0, written = 0;
  int i;
  GeneratedActivities(&activities[0], &activities[1]);
  pthread_mutex_lock(&buffers_lock);
  for (i = 0; i < kGeneratedNames; ++i) {
    char text[128];
    snprintf(
        text,
        sizeof(text),
        "void simulated::layer<%d, float, cutlass::epilogue::thread::LinearCombination>(Params)",
        i);
    texts[i] = KeepName(text);
  }
  pthread_mutex_unlock(&buffers_lock);
  for (i = 0; i < 2; ++i) {
    FakeLayOut(templates[i], generation, (uint32_t)getpid(), 0, &activities[i]);
  }
  while (made < records) {
    const uint64_t offset = CuptiOffset();
    const int64_t now = FakeNow();
    uint64_t due = per_second == 0
                       ? records
                       : (uint64_t)((double)(now - begin) / 1e9 * (double)per_second) + 1;
    uint64_t batch;
    if (due > records) due = records;
    if (due <= made) { /* ahead of the rate: both clocks of a batch are read once in 100 us */
      FakeSleepUs(100);
      continue;
    }
    batch = due - made < kGeneratedBatch ? due - made : (uint64_t)kGeneratedBatch;
    for (; batch > 0; --batch, ++made) {
      const int is_copy = (int)(made & 1);
      if (!IsEnabled(activities[is_copy].kind)) continue;
      pthread_mutex_lock(&buffers_lock);
      written += (uint64_t)WriteGenerated(templates[is_copy],
                                          activities[is_copy].kind,
                                          (uint64_t)now + offset + made % kGeneratedBatch,
                                          (uint32_t)(made + 1),
                                          texts[made / 2 % kGeneratedNames]);
      pthread_mutex_unlock(&buffers_lock);
    }
  }
  return written;
}

#endif
